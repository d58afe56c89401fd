import { expect, test } from 'vitest';
import { recordMetrics } from '../../test/sim/observers.ts';
import { virtualClock, type VirtualClock } from '../../test/sim/virtual-clock.ts';
import type { KubeClient } from './client.ts';
import { KubeError } from './errors.ts';
import { makeStore } from './store.ts';
import { watchResource } from './watcher.ts';

type FullSet = { readonly version: string; readonly names: readonly string[] };

/** An API server that answers each request for all objects with the next of `sets` (the last one again), and resumes no watch. */
function startWatch(clock: VirtualClock, sets: readonly FullSet[], signal: AbortSignal) {
  const left = [...sets];
  const line = (type: string, metadata: object): Uint8Array =>
    new TextEncoder().encode(`${JSON.stringify({ type, object: { metadata } })}\n`);
  const client = {
    stream: async (path: string, { signal: aborted, query }: Parameters<KubeClient['stream']>[1]) => {
      if (query['sendInitialEvents'] !== 'true')
        throw new KubeError({ code: 'GONE', message: 'too old', verb: 'watch', path });
      const isLast = left.length === 1;
      const { version = '', names = [] } = (isLast ? left[0] : left.shift()) ?? {};
      return (async function* () {
        for (const name of names) yield line('ADDED', { name, resourceVersion: version });
        yield line('BOOKMARK', { resourceVersion: version, annotations: { 'k8s.io/initial-events-end': 'true' } });
        await clock.sleep(isLast ? 3_600_000 : 2_000, aborted);
      })();
    },
  };
  const store = makeStore<string>({ keyOf: (name) => name });
  const codes: string[] = [];
  const run = async (): Promise<void> => {
    const events = watchResource({
      client: client as unknown as KubeClient,
      path: '/api/v1/services',
      project: ({ metadata }) => metadata.name ?? '',
      newestAnswer: store.newestAnswer,
      signal,
      clock,
      random: () => 0.5,
      metrics: recordMetrics(),
    });
    for await (const event of events) {
      store.feed(event);
      if (event.type === 'error') codes.push(event.error.code);
    }
  };
  return { running: run(), names: () => [...store.objects().keys()].toSorted(), codes };
}

test('a server that lags removes no object: all objects are asked for again until it has caught up', async () => {
  const clock = virtualClock();
  const stop = new AbortController();
  const [now, old] = [
    { version: '20', names: ['a', 'b'] },
    { version: '9', names: ['a'] },
  ];
  const watch = startWatch(clock, [now, old, old, { version: '21', names: ['a', 'c'] }], stop.signal);
  await clock.advance(3_000);
  expect([watch.names(), watch.codes]).toEqual([
    ['a', 'b'],
    ['expired', 'outdated'],
  ]);
  await clock.advance(5_000);
  expect([watch.names(), watch.codes]).toEqual([
    ['a', 'c'],
    ['expired', 'outdated', 'outdated'],
  ]);
  stop.abort();
  await watch.running;
});

test('an older state that lasts for 30 s is that of a restored backup', async () => {
  const clock = virtualClock();
  const stop = new AbortController();
  const watch = startWatch(
    clock,
    [
      { version: '20', names: ['a', 'b'] },
      { version: '9', names: ['a'] },
    ],
    stop.signal,
  );
  await clock.advance(29_000);
  expect(watch.names()).toEqual(['a', 'b']);
  await clock.advance(11_000);
  expect(watch.names()).toEqual(['a']);
  expect(watch.codes.length).toBeLessThan(14);
  stop.abort();
  await watch.running;
});
