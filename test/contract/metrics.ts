import { describe, expect, test } from 'vitest';
import type { Labels, Metrics } from '../../src/ports/metrics.ts';

/** An empty registry; `read` gets the value of a metric with exactly these labels, 0 if it has none. */
export type MetricsScene = {
  readonly metrics: Metrics;
  readonly read: (name: string, labels?: Labels) => Promise<number>;
};

/** The contract of every implementation of the port. */
export function metricsContract(name: string, makeScene: () => MetricsScene): void {
  describe(`metrics contract: ${name}`, () => {
    test('a counter sums what is added to it, by label; the second one of a name is the same', async () => {
      const { metrics, read } = makeScene();
      const make = (): ReturnType<Metrics['counter']> => metrics.counter('furiwake_test_total', 'A test', ['kind']);
      make().add(2, { kind: 'a' });
      make().add(3, { kind: 'a' });
      make().add(1, { kind: 'b' });
      const values = ['a', 'b', 'c'].map((kind) => read('furiwake_test_total', { kind }));
      expect(await Promise.all(values)).toEqual([5, 1, 0]);
    });

    test('a gauge has its last value', async () => {
      const { metrics, read } = makeScene();
      const gauge = metrics.gauge('furiwake_test', 'A test');
      gauge.set(3);
      gauge.set(1);
      expect(await read('furiwake_test')).toBe(1);
    });

    test('a counter cannot decrease', () => {
      const counter = makeScene().metrics.counter('furiwake_test_total', 'A test');
      expect(() => counter.add(-1)).toThrow(/decrease/);
    });

    test('a label that the metric does not have throws', () => {
      const { metrics } = makeScene();
      const labels = { other: 'a' };
      const counter = metrics.counter('furiwake_test_total', 'A test', ['kind']);
      const gauge = metrics.gauge('furiwake_test', 'A test');
      const histogram = metrics.histogram('furiwake_test_seconds', 'A test', [1], ['kind']);
      for (const use of [() => counter.add(1, labels), () => gauge.set(1, labels), () => histogram.observe(1, labels)])
        expect(use).toThrow(/label "?other/);
    });
  });
}
