import { expect, test } from 'vitest';
import { makeMetrics } from '../main/node/metrics.ts';
import { familiesOf, labelText, portionsOf } from './metric-families.ts';

const { counter, gauge } = familiesOf<number | undefined>();

test.each([
  ['counter', counter('furiwake_test_total', 'For this test', (value) => value)],
  ['gauge', gauge('furiwake_test', 'For this test', (value) => value)],
] as const)('a %s is written as the registry writes it', async (kind, family) => {
  const rows = [
    [{ namespace: 'shop', service: 'web' }, 0],
    [{ namespace: 'shop', service: 'back\\slash, "quotes"\nand a line' }, 1.5e21],
    [{ namespace: 'shop', service: 'none' }, undefined],
  ] as const;
  const metrics = makeMetrics();
  const labelNames = ['namespace', 'service'];
  for (const [labels, value] of rows) {
    if (value === undefined) continue;
    if (kind === 'counter') metrics.counter(family.name, family.help, labelNames).add(value, labels);
    else metrics.gauge(family.name, family.help, labelNames).set(value, labels);
  }
  const written = rows.map(
    ([labels, value]) =>
      [
        Object.entries(labels)
          .map((each) => labelText(...each))
          .join(),
        value,
      ] as const,
  );
  expect([...portionsOf(family, written)].join('')).toBe(await metrics.text([family.name]));
});

test('a portion has 250 rows, and is made when it is read', () => {
  let made = 0;
  const rows = function* (): Generator<readonly [string, number]> {
    for (; made < 600; made++) yield [labelText('row', String(made)), made];
  };
  const portions = portionsOf(
    gauge('furiwake_test', 'For this test', (value) => value),
    rows(),
  );
  const sizes = [250, 250, 100].map((size) => {
    const text = portions.next().value ?? '';
    return [size, text.match(/^furiwake_test\{/gm)?.length, made];
  });
  expect(sizes).toEqual([
    [250, 250, 249],
    [250, 250, 499],
    [100, 100, 600],
  ]);
  expect(portions.next().done).toBe(true);
});
