import { expect, test } from 'vitest';
import { recordLog, recordMetrics } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { KubeClient } from '../kube/client.ts';
import { makeStores } from './stores.ts';

const initialEnd = JSON.stringify({
  type: 'BOOKMARK',
  object: { metadata: { resourceVersion: '7', annotations: { 'k8s.io/initial-events-end': 'true' } } },
});

/** An API server whose watches deliver the end of the initial events once, and then nothing until they break. */
function quietServer() {
  let broken = Promise.withResolvers<never>();
  const client = {
    stream: async (_: string, { signal, query }: Parameters<KubeClient['stream']>[1]) => {
      const { promise } = broken;
      const aborted = new Promise<never>((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
      );
      aborted.catch(() => undefined);
      return (async function* () {
        if (query['sendInitialEvents'] === 'true') yield new TextEncoder().encode(`${initialEnd}\n`);
        await Promise.race([promise, aborted]);
      })();
    },
  };
  return {
    client: client as unknown as KubeClient,
    breakAll: () => {
      const last = broken;
      broken = Promise.withResolvers<never>();
      last.reject(new Error('cut'));
    },
  };
}

test('a watch that was accepted again works again after ten seconds, in the log as for readiness, without an event', async () => {
  const { client, breakAll } = quietServer();
  const clock = virtualClock();
  const log = recordLog();
  const stores = makeStores({
    client,
    site: { defaults: [] },
    clock,
    random: () => 0.5,
    log,
    metrics: recordMetrics(),
  });
  const stop = new AbortController();
  const watching = stores.watch(stop.signal);
  await clock.advance(1_000);
  breakAll();
  await clock.advance(1_000);
  expect(log.failures.size).toBe(3);
  await clock.advance(12_000);
  expect([log.failures.size, stores.unseen()]).toEqual([0, []]);
  expect(
    log.lines.filter(({ message }) => message.endsWith('works again')).map(({ fields }) => fields['seconds']),
  ).toEqual([1, 1, 1]);
  stop.abort();
  await watching.catch(() => undefined);
});
