import { expect, test } from 'vitest';
import { dns, gateRig, n1, n2, ntp } from '../../test/make/gate-rig.ts';

test('what the table of an earlier process has open stays open, without a request; the rest needs a proof', async () => {
  const { set, setUp, gate, kubeProxy, clock } = await gateRig();
  gate.resume(new Map([[dns, new Set([n1])]]));
  set([
    [dns, clock.monotonic(), 'found'],
    [ntp, clock.monotonic(), 'found'],
  ]);
  gate.setNodes(new Map());
  setUp(n1, n2);
  expect([gate.isOpen(dns, n1), gate.isOpen(ntp, n1), gate.isOpen(dns, n2)]).toEqual([true, false, false]);
  await clock.advance(1); // the answer to the first request
  expect([gate.isOpen(ntp, n1), kubeProxy().askedAt.length]).toEqual([false, 1]);
  await clock.advance(5_700);
  expect([gate.isOpen(ntp, n1), gate.isOpen(dns, n2)]).toEqual([true, true]);
});

test('a listener that is published again, or withdrawn, is not resumed; nor is one on a node that comes later', async () => {
  const { set, setUp, gate, clock } = await gateRig();
  gate.resume(
    new Map([
      [dns, new Set([n1, n2])],
      [ntp, new Set([n1, n2])],
    ]),
  );
  set([
    [dns, clock.monotonic(), 'found'],
    [ntp, undefined],
  ]);
  setUp(n1);
  set([
    [dns, clock.monotonic(), 'found'],
    [ntp, clock.monotonic()],
  ]);
  setUp(n1, n2);
  expect([gate.isOpen(dns, n1), gate.isOpen(ntp, n1), gate.isOpen(dns, n2)]).toEqual([true, false, false]);
  await clock.advance(6_000);
  expect([gate.isOpen(ntp, n1), gate.isOpen(ntp, n2)]).toEqual([false, false]); // no sync since the publication
});

test('what a node had open in part closes while it is silent, and when the node is another one, and subscribers learn of its opening', async () => {
  const { clock, set, setUp, setSilent, gate } = await gateRig();
  gate.resume(new Map([[dns, new Set([n1])]]));
  set([
    [dns, clock.monotonic(), 'found'],
    [ntp, clock.monotonic(), 'found'],
  ]);
  setUp(n1);
  await clock.advance(2_000);
  let opened = false;
  gate.subscribe(() => (opened = gate.isOpen(dns, n1)));
  setSilent(n1);
  expect([gate.isOpen(dns, n1), opened]).toEqual([false, false]);
  await clock.advance(8_000);
  setUp(n1);
  expect(gate.isOpen(dns, n1)).toBe(false);
  await clock.advance(5_500); // for so long its kube-proxy may not have synced yet
  expect([gate.isOpen(dns, n1), gate.isOpen(ntp, n1), opened]).toEqual([true, false, true]);
  setUp(n2);
  setUp(n1);
  expect(gate.isOpen(dns, n1)).toBe(false);
});

test('after a reboot of this host all nodes open five seconds later: a change would have led to a sync', async () => {
  const all = await gateRig();
  all.set([[dns, all.clock.monotonic(), 'found']]);
  all.setUp(n1);
  const openMs = await all.opensAt(20_000);
  expect(openMs).toBeGreaterThanOrEqual(15_000);
  expect(openMs).toBeLessThan(15_700);
});

test('a listener published a moment before this process started opens only after a sync', async () => {
  const all = await gateRig({ lagMs: 150 });
  const { clock, set, setUp, kubeProxy, opensAt } = all;
  setUp(n1);
  kubeProxy().change(); // of another Service: the next sync begins a second later
  await clock.advance(200);
  kubeProxy().change(dns);
  set([[dns, clock.monotonic(), 'found']]);
  const openMs = await opensAt(20_000);
  expect(kubeProxy().isSafe(dns)).toBe(true);
  expect(openMs).toBeLessThan(13_600);
});

test('what the earlier table has open opens on a node that was silent at the start after its first sync', async () => {
  const { clock, set, setUp, setSilent, gate } = await gateRig();
  gate.resume(new Map([[dns, new Set([n1])]]));
  set([[dns, clock.monotonic(), 'found']]);
  setSilent(n1);
  setUp(n1);
  await clock.advance(4_900);
  expect(gate.isOpen(dns, n1)).toBe(false); // it may be the first answer of a process
  await clock.advance(1_000);
  expect(gate.isOpen(dns, n1)).toBe(true);
});

test('a node that rebooted while furiwake was stopped, as its boot ID shows, opens after its first sync', async () => {
  const { clock, set, setBooted, gate } = await gateRig();
  gate.resume(new Map([[dns, new Set([n1])]]));
  set([[dns, clock.monotonic(), 'found']]);
  setBooted('first'); // as it was saved
  setBooted(undefined); // the API server does not say
  expect(gate.isOpen(dns, n1)).toBe(true);
  setBooted('second');
  expect(gate.isOpen(dns, n1)).toBe(false);
  await clock.advance(4_900);
  expect(gate.isOpen(dns, n1)).toBe(false); // it may be the first answer of a process
  await clock.advance(1_000);
  expect(gate.isOpen(dns, n1)).toBe(true);
});

test('a node that was silent, and is open again, stays so when its new boot ID arrives later', async () => {
  const { clock, set, setBooted, setSilent, gate } = await gateRig();
  setBooted('first');
  set([[dns, clock.monotonic(), 'found']]);
  setSilent(n1);
  setBooted('first');
  await clock.advance(6_000);
  expect(gate.isOpen(dns, n1)).toBe(true);
  setBooted('second');
  expect(gate.isOpen(dns, n1)).toBe(true);
});
