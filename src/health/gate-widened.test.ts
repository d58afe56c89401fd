import { expect, test } from 'vitest';
import { dns, gated, gateRig, n1, n2, ntp, publish } from '../../test/make/gate-rig.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { PersistentMap } from '../core/persistent-map.ts';
import type { GatedListener, Widened } from '../ports/gate.ts';

const withWidened = (
  listeners: PersistentMap<ListenerKey, GatedListener>,
  widened: Widened | undefined,
): PersistentMap<ListenerKey, GatedListener> =>
  listeners.with(Array.from(listeners, ([key, each]) => [key, { ...each, widened }]));

test('a Service that is changed to Cluster opens on a node without endpoints after its next sync', async () => {
  const all = await gateRig();
  const { clock, gate, kubeProxy } = all;
  all.setUp(n1);
  publish(all);
  const listeners = gated([[dns, clock.monotonic()]]);
  await clock.advance(20_000);
  expect(gate.isOpen(dns, n1)).toBe(true);
  const changes: (string | undefined)[] = [];
  gate.subscribe((change) => void changes.push(change));
  const changedMs = clock.monotonic();
  gate.setListeners(withWidened(listeners, { atMs: changedMs, before: new Set([n2]) }));
  expect([gate.isOpen(dns, n1), changes]).toEqual([false, [undefined]]);
  kubeProxy().change(ntp); // this sync takes the change of the policy, too
  const openMs = await all.opensAt(changedMs + 20_000);
  expect(openMs).toBeGreaterThan(changedMs);
  expect(openMs).toBeLessThan(changedMs + 3_000);
  expect(changes).toContain('opened');
});

test('it stays open on the nodes that had endpoints, and is open on all when it is Local again', async () => {
  const all = await gateRig();
  const { clock, gate } = all;
  all.setUp(n1);
  publish(all);
  const listeners = gated([[dns, clock.monotonic()]]);
  await clock.advance(20_000);
  gate.setListeners(withWidened(listeners, { atMs: clock.monotonic(), before: new Set([n1]) }));
  expect(gate.isOpen(dns, n1)).toBe(true);
  gate.setListeners(withWidened(listeners, { atMs: clock.monotonic(), before: new Set([n2]) }));
  expect(gate.isOpen(dns, n1)).toBe(false);
  gate.setListeners(listeners);
  expect(gate.isOpen(dns, n1)).toBe(true);
});

test('so does one that an earlier process has opened', async () => {
  const { clock, gate, setUp } = await gateRig();
  gate.resume(new Map([[dns, new Set([n1, n2])]]));
  const listeners = gated([[dns, clock.monotonic(), 'found']]);
  gate.setListeners(listeners);
  setUp(n1, n2);
  expect([gate.isOpen(dns, n1), gate.isOpen(dns, n2)]).toEqual([true, true]);
  await clock.advance(10);
  gate.setListeners(withWidened(listeners, { atMs: clock.monotonic(), before: new Set([n1]) }));
  expect([gate.isOpen(dns, n1), gate.isOpen(dns, n2)]).toEqual([true, false]);
});
