import { expect, test } from 'vitest';
import { gateRig, n1, n2 } from '../../test/make/gate-rig.ts';
import { addressOf } from '../../test/make/table.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { listenerKey } from '../core/traffic/table.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { GatedListener } from '../ports/gate.ts';

const keys = Array.from({ length: 2_000 }, (_, index) => listenerKey(addressOf('203.0.113.10'), 1 + index, 'UDP'));

/** Two nodes, and listeners that count how often the gate reads when they were published. */
async function countingScene() {
  const { clock, gate, setUp, kubeProxy } = await gateRig();
  setUp(n1, n2);
  let listeners = PersistentMap.empty<ListenerKey, GatedListener>();
  let reads = 0;
  const publish = (key: ListenerKey, publishedMs: number | undefined): void => {
    const listener: GatedListener = {
      family: 4,
      get publishedMs() {
        reads++;
        return publishedMs;
      },
      isFoundPublished: false,
      widened: undefined,
    };
    listeners = listeners.with([[key, listener]]);
    gate.setListeners(listeners);
  };
  const readsOf = async (work: () => Promise<unknown>): Promise<number> => {
    const before = reads;
    await work();
    return reads - before;
  };
  return { clock, gate, kubeProxy, publish, readsOf };
}

test('a listener costs something when it changes: nothing with the changes of others, nor with answers of nodes', async () => {
  const { clock, gate, kubeProxy, publish, readsOf } = await countingScene();
  const made = await readsOf(async () => {
    for (const key of keys) {
      publish(key, undefined);
      await clock.advance(1);
    }
  });
  expect(made).toBeLessThan(10 * keys.length);
  const published = await readsOf(async () => {
    for (const key of keys) {
      publish(key, clock.monotonic());
      await clock.advance(1);
    }
  });
  expect(published).toBeLessThan(10 * keys.length);
  const asked = kubeProxy().askedAt.length;
  const answered = await readsOf(() => clock.advance(100_000));
  expect(kubeProxy().askedAt.length).toBeGreaterThan(asked + 5);
  expect(answered).toBe(0);
  expect(keys.every((key) => gate.isOpen(key, n1) && gate.isOpen(key, n2))).toBe(true);
});
