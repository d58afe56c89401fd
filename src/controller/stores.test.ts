import { expect, test } from 'vitest';
import { recordLog, recordMetrics } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { KubeClient } from '../kube/client.ts';
import { makeStores } from './stores.ts';

const initialEnd = JSON.stringify({
  type: 'BOOKMARK',
  object: { metadata: { resourceVersion: '7', annotations: { 'k8s.io/initial-events-end': 'true' } } },
});

/** An API server whose watches deliver the end of the initial events once, or not while `isMute`, and then nothing until they break. */
function quietServer({ isMute = false } = {}) {
  let broken = Promise.withResolvers<never>();
  const client = {
    stream: async (_: string, { signal, query }: Parameters<KubeClient['stream']>[1]) => {
      const { promise } = broken;
      const aborted = new Promise<never>((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
      );
      aborted.catch(() => undefined);
      return (async function* () {
        if (query['sendInitialEvents'] === 'true' && !isMute) yield new TextEncoder().encode(`${initialEnd}\n`);
        await Promise.race([promise, aborted]);
      })();
    },
  };
  return {
    client: client as unknown as KubeClient,
    breakAll: () => {
      isMute = false;
      const last = broken;
      broken = Promise.withResolvers<never>();
      last.reject(new Error('cut'));
    },
  };
}

function startWatching({ client, breakAll }: ReturnType<typeof quietServer>) {
  const [clock, log, stop] = [virtualClock(), recordLog(), new AbortController()];
  const site = { defaults: [] };
  const stores = makeStores({ client, site, clock, random: () => 0.5, log, metrics: recordMetrics() });
  const watching = stores.watch(stop.signal);
  const end = async (): Promise<void> => {
    stop.abort();
    await watching.catch(() => undefined);
  };
  return { breakAll, clock, log, stores, end };
}

test('a watch that was accepted again works again after ten seconds, in the log as for readiness, without an event', async () => {
  const { breakAll, clock, log, stores, end } = startWatching(quietServer());
  await clock.advance(1_000);
  breakAll();
  await clock.advance(1_000);
  expect(log.failures.size).toBe(3);
  await clock.advance(12_000);
  expect([log.failures.size, stores.unseen()]).toEqual([0, []]);
  expect(
    log.lines.filter(({ message }) => message.endsWith('works again')).map(({ fields }) => fields['seconds']),
  ).toEqual([1, 1, 1]);
  await end();
});

test('a watch that broke in its first seconds works again since it was accepted the last time', async () => {
  const { breakAll, clock, log, end } = startWatching(quietServer({ isMute: true }));
  await clock.advance(3_000);
  breakAll();
  await clock.advance(20_000);
  const seconds = log.lines
    .filter(({ message }) => message.endsWith('works again'))
    .map(({ fields }) => fields['seconds']);
  expect([log.failures.size, seconds]).toEqual([0, [1, 1, 1]]);
  await end();
});
