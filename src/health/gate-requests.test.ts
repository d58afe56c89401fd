import { expect, onTestFinished, test } from 'vitest';
import { dns, gated, gateRig, n1, n2, publish } from '../../test/make/gate-rig.ts';
import { addressOf } from '../../test/make/table.ts';
import { type VirtualClock, virtualClock } from '../../test/sim/virtual-clock.ts';
import type { Gate } from '../ports/gate.ts';
import { makeGate } from './gate.ts';

test('a node is asked every 200 ms for three seconds, then less often, down to every five seconds', async () => {
  const { clock, set, setUp, kubeProxy } = await gateRig();
  setUp(n1);
  set([[dns, undefined]]);
  await clock.advance(4_900);
  expect(kubeProxy().askedAt).toHaveLength(1); // an unpublished listener needs no more
  set([[dns, clock.monotonic()]]);
  await clock.advance(55_000);
  const gaps = kubeProxy().askedAt.map((atMs, index, all) => atMs - (all[index - 1] ?? atMs));
  expect(gaps.slice(2, 16)).toEqual(Array.from({ length: 14 }, () => 200));
  expect(gaps.slice(18)).toEqual(gaps.slice(18).toSorted((a, b) => a - b));
  expect(gaps.at(-1)).toBe(5_000);
  expect(kubeProxy().mostAtOnce).toBe(1);
});

test('a sync is followed by frequent requests, because another may follow', async () => {
  const { clock, set, setUp, kubeProxy, opensAt } = await gateRig();
  setUp(n1);
  set([[dns, clock.monotonic()]]);
  await clock.advance(40_000);
  const lastMs = kubeProxy().askedAt.at(-1) ?? 0;
  await clock.advance(lastMs + 4_800 - clock.monotonic()); // the next request is due in 200 ms, and the one after it in 5 s
  kubeProxy().change();
  expect(await opensAt(70_000)).toBeLessThan(lastMs + 7_300);
});

test('without a listener a node is asked until it is known to have synced; once more for each new listener', async () => {
  const { clock, set, setUp, kubeProxy } = await gateRig();
  setUp(n1);
  await clock.advance(100_000);
  expect(kubeProxy().askedAt).toEqual([15_000, 20_000]);
  set([[dns, undefined]]);
  await clock.advance(100_000);
  expect(kubeProxy().askedAt).toEqual([15_000, 20_000, 110_000]);
});

test('without a listener a node that does not answer is asked less and less often', async () => {
  const { clock, gate, asked } = unanswered(1);
  gate.setListeners(gated([]));
  await clock.advance(600_000);
  expect(asked.length).toBeGreaterThan(8);
  expect(asked.length).toBeLessThan(16);
});

test('a node that is open for all listeners, silent or removed is not asked', async () => {
  const all = await gateRig();
  const { clock, setUp, setSilent, kubeProxy, opensAt } = all;
  setUp(n1);
  publish(all);
  await opensAt(20_000);
  const first = kubeProxy();
  const asked = first.askedAt.length;
  await clock.advance(30_000);
  expect(first.askedAt).toHaveLength(asked + 1); // then it is known to have synced
  all.set([[dns, clock.monotonic()]]);
  setUp(n2);
  expect(first.isClosed).toBe(true);
  await clock.advance(1_000);
  expect(first.askedAt).toHaveLength(asked + 2); // the one that was under way
  expect(kubeProxy().askedAt.length).toBeGreaterThan(1);
  setSilent(n2);
  await clock.advance(1);
  const before = kubeProxy().askedAt.length;
  await clock.advance(30_000);
  expect(kubeProxy().askedAt).toHaveLength(before);
});

/** A gate whose requests take `tookMs` and get no answer, and the addresses that it asked. */
function unanswered(tookMs: number): { clock: VirtualClock; gate: Gate; asked: readonly string[] } {
  const clock = virtualClock();
  const asked: string[] = [];
  const gate = makeGate({
    makeKubeProxy: () => ({
      ask: async (address, signal) => {
        asked.push(address.text);
        await clock.sleep(tookMs, signal);
        return undefined;
      },
      close: () => undefined,
    }),
    clock,
  });
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  void gate.run(stop.signal);
  const addresses = ['192.0.2.11', '2001:db8::11'].map((text) => ({ address: addressOf(text), isUp: true }));
  gate.setNodes(new Map([[n1, { bootId: undefined, addresses }]]));
  gate.setListeners(gated([[dns, 0]]));
  return { clock, gate, asked };
}

test('without an answer the other address is asked', async () => {
  const { clock, asked } = unanswered(1);
  await clock.advance(500);
  expect(asked).toEqual(['192.0.2.11', '2001:db8::11', '192.0.2.11']);
});

test('a node that is removed during a long request is not asked again', async () => {
  const { clock, gate, asked } = unanswered(400);
  await clock.advance(100);
  gate.setNodes(new Map());
  await clock.advance(5_000);
  expect(asked).toHaveLength(1);
});

test('a node is asked again only after the answer', async () => {
  const { clock, gate, asked } = unanswered(400);
  for (const publishedMs of [1, 2, 3]) {
    await clock.advance(100);
    gate.setListeners(gated([[dns, publishedMs]]));
  }
  expect(asked).toHaveLength(1);
  await clock.advance(101);
  expect(asked).toHaveLength(2);
});
