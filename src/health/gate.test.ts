import { expect, test } from 'vitest';
import { dns, dns6, gateRig, n1, ntp, publish } from '../../test/make/gate-rig.ts';

test('a new Service opens with the second sync: the first was that of its creation', async () => {
  const all = await gateRig();
  const { clock, set, setUp, kubeProxy, gate, opensAt } = all;
  setUp(n1);
  set([[dns, undefined]]);
  kubeProxy().change(); // its Service and its endpoints
  await clock.advance(40);
  expect(gate.isOpen(dns, n1)).toBe(false);
  publish(all);
  const openMs = await opensAt(20_000);
  expect(kubeProxy().isSafe(dns)).toBe(true);
  expect(openMs).toBeGreaterThan(11_000);
  expect(openMs).toBeLessThan(11_300);
});

test('a long sync that began before the publication does not open the gate when it ends', async () => {
  const all = await gateRig({ syncMs: 900 });
  const { clock, set, setUp, kubeProxy, opensAt } = all;
  setUp(n1);
  set([[dns, undefined]]);
  kubeProxy().change();
  await clock.advance(40); // the sync takes 865 ms from here
  publish(all);
  expect(await opensAt(12_700)).toBeUndefined();
  expect(kubeProxy().isSafe(dns)).toBe(false);
  await opensAt(20_000);
  expect(kubeProxy().isSafe(dns)).toBe(true);
});

test('a Service whose creation and publication wait for the same sync opens when that ends, once the node has been asked before', async () => {
  const all = await gateRig();
  const { clock, set, setUp, kubeProxy, gate } = all;
  setUp(n1);
  await clock.advance(11_000);
  kubeProxy().change(); // of another Service
  await clock.advance(300);
  set([[dns, undefined]]);
  await clock.advance(40);
  publish(all);
  await clock.advance(690); // 1,025 ms after the change the next sync begins, and takes 20 ms
  expect([gate.isOpen(dns, n1), kubeProxy().isSafe(dns)]).toEqual([false, false]);
  const openMs = await all.opensAt(30_000);
  expect(kubeProxy().isSafe(dns)).toBe(true);
  expect(openMs).toBeLessThan(22_300);
});

test('a kube-proxy that synced before this host saw the publication is given two seconds, once the node has been asked before', async () => {
  const { clock, set, setUp, kubeProxy, opensAt } = await gateRig();
  setUp(n1);
  await clock.advance(11_000);
  kubeProxy().change();
  set([[dns, undefined]]);
  await clock.advance(2_000);
  kubeProxy().change(dns);
  await clock.advance(100);
  set([[dns, clock.monotonic()]]);
  const openMs = await opensAt(40_000);
  expect(openMs).toBeGreaterThanOrEqual(25_100);
  expect(openMs).toBeLessThan(25_400);
});

test('after a single sync the gate opens when kube-proxy has needed no other for two seconds', async () => {
  const all = await gateRig();
  all.setUp(n1);
  all.set([[dns, undefined]]);
  await all.clock.advance(500);
  publish(all);
  const openMs = await all.opensAt(20_000);
  expect(openMs).toBeGreaterThanOrEqual(12_500);
  expect(openMs).toBeLessThan(12_800);
});

test('a kube-proxy that synced before this host saw the publication is given five seconds', async () => {
  const { clock, set, setUp, kubeProxy, opensAt } = await gateRig();
  setUp(n1);
  set([[dns, undefined]]);
  await clock.advance(500);
  kubeProxy().change(dns);
  await clock.advance(100);
  set([[dns, clock.monotonic()]]);
  const openMs = await opensAt(30_000);
  expect(openMs).toBeGreaterThanOrEqual(15_600);
  expect(openMs).toBeLessThan(16_500);
});

test('a kube-proxy that does not sync after the publication stays closed for a minute, and longer if unhealthy', async () => {
  const { clock, set, setUp, kubeProxy, opensAt } = await gateRig();
  setUp(n1);
  set([[dns, clock.monotonic()]]);
  kubeProxy().isHealthy = false;
  expect(await opensAt(90_000)).toBeUndefined();
  kubeProxy().isHealthy = true;
  expect(await opensAt(100_000)).toBeLessThan(95_100);
});

test('a kube-proxy that has restarted opens nothing before its first sync', async () => {
  const all = await gateRig({ listMs: 3_000 });
  const { clock, setUp, kubeProxy, opensAt } = all;
  setUp(n1);
  publish(all);
  void kubeProxy().restart(400);
  await clock.advance(450); // it answers, and shows the begin of its loop as a sync
  expect(await opensAt(13_400)).toBeUndefined();
  expect(kubeProxy().isSafe(dns)).toBe(false);
  const openMs = await opensAt(20_000);
  expect(openMs).toBeLessThan(15_700);
  expect(kubeProxy().isSafe(dns)).toBe(true);
});

test('a kube-proxy without times of syncs is given three seconds, if it is healthy', async () => {
  const all = await gateRig();
  all.setUp(n1);
  all.kubeProxy().isOld = true;
  all.kubeProxy().isHealthy = false;
  publish(all);
  expect(await all.opensAt(15_000)).toBeUndefined();
  all.kubeProxy().isHealthy = true;
  expect(await all.opensAt(17_000)).toBeLessThan(16_000);
  all.set([[dns, undefined]]);
  publish(all);
  const publishedMs = all.clock.monotonic();
  expect(await all.opensAt(30_000)).toBeGreaterThanOrEqual(publishedMs + 3_000);
});

test('a listener of a family in which the node has no address stays closed, and the node is not asked for it', async () => {
  const { clock, set, setUp, gate, kubeProxy } = await gateRig();
  setUp(n1);
  kubeProxy().change(dns6);
  set([[dns6, clock.monotonic()]]);
  await clock.advance(100_000);
  expect(gate.isOpen(dns6, n1)).toBe(false);
  expect(kubeProxy().askedAt).toEqual([15_000, 20_000]); // as without a listener
});

test('a silent node closes at once, and opens with the first answer if kube-proxy still runs', async () => {
  const { clock, set, setUp, setSilent, gate, kubeProxy, opensAt } = await gateRig();
  setUp(n1);
  kubeProxy().change(dns);
  set([[dns, clock.monotonic()]]);
  await opensAt(20_000);
  setSilent(n1);
  expect(gate.isOpen(dns, n1)).toBe(false);
  await clock.advance(5_000);
  const asked = kubeProxy().askedAt.length;
  setUp(n1);
  expect(gate.isOpen(dns, n1)).toBe(false);
  await clock.advance(1);
  expect(gate.isOpen(dns, n1)).toBe(true);
  expect(kubeProxy().askedAt).toHaveLength(asked + 1);
});

test('an answer from before a silence does not count for the age of a process', async () => {
  const { clock, set, setUp, setSilent, gate } = await gateRig();
  const before = [dns, clock.monotonic(), 'found'] as const;
  gate.resume(new Map([[dns, new Set([n1])]]));
  set([before]);
  setUp(n1);
  set([before, [ntp, clock.monotonic()]]);
  await clock.advance(0.5); // the first request is under way
  setSilent(n1);
  await clock.advance(6_000);
  setUp(n1);
  await clock.advance(4_900);
  expect(gate.isOpen(dns, n1)).toBe(false);
  await clock.advance(1_000);
  expect(gate.isOpen(dns, n1)).toBe(true);
});

test('a node that has restarted opens only after the first sync of its kube-proxy', async () => {
  const { clock, gate, set, setUp, setSilent, kubeProxy, opensAt } = await gateRig({ listMs: 2_000 });
  gate.resume(new Map([[dns, new Set([n1])]]));
  set([[dns, clock.monotonic(), 'found']]);
  setUp(n1);
  kubeProxy().change(dns);
  setSilent(n1);
  void kubeProxy().reboot(10_000);
  await clock.advance(10_000);
  setUp(n1);
  expect(await opensAt(22_000)).toBeUndefined();
  expect(await opensAt(30_000)).toBeLessThan(22_300);
  expect(kubeProxy().isSafe(dns)).toBe(true);
});

test('a listener that is no longer published, or published again, is closed at once', async () => {
  const { clock, set, setUp, gate } = await gateRig();
  gate.resume(
    new Map([
      [dns, new Set([n1])],
      [ntp, new Set([n1])],
    ]),
  );
  set([
    [dns, 1, 'found'],
    [ntp, 1, 'found'],
  ]);
  setUp(n1);
  let changes = 0;
  gate.subscribe(() => changes++);
  set([
    [dns, clock.monotonic()],
    [ntp, 1, 'found'],
  ]);
  expect([gate.isOpen(dns, n1), gate.isOpen(ntp, n1)]).toEqual([false, true]);
  set([[ntp, undefined]]);
  expect(gate.isOpen(ntp, n1)).toBe(false);
  set([]);
  expect(changes).toBe(2); // not by the removal of a closed one
});

test('an answer that was under way when the listener was published proves nothing', async () => {
  const { clock, set, setUp, kubeProxy, gate } = await gateRig();
  setUp(n1);
  kubeProxy().isOld = true;
  set([[ntp, clock.monotonic()]]);
  await clock.advance(20_000);
  expect(gate.isOpen(ntp, n1)).toBe(true);
  set([
    [ntp, undefined],
    [dns, clock.monotonic()],
  ]);
  expect(gate.isOpen(dns, n1)).toBe(false);
});

test('a kube-proxy that does not answer is reported, and again when it answers', async () => {
  const all = await gateRig();
  const { clock, gate, kubeProxy, setUp } = all;
  let changes = 0;
  gate.subscribe(() => changes++);
  setUp(n1);
  expect(gate.isAnswering(n1)).toBe(true);
  void kubeProxy().restart(60_000);
  publish(all);
  await clock.advance(1_000);
  expect([gate.isAnswering(n1), gate.isOpen(dns, n1), changes]).toEqual([false, false, 1]);
  await clock.advance(30_000);
  expect(changes).toBe(1);
  await clock.advance(35_000);
  expect([gate.isAnswering(n1), changes]).toEqual([true, 2]);
});

test('a change says whether listeners have only opened', async () => {
  const all = await gateRig();
  const changes: string[] = [];
  all.gate.subscribe((change) => changes.push(change ?? 'closed'));
  all.setUp(n1);
  publish(all);
  await all.opensAt(20_000);
  expect(changes).toEqual(['opened']);
  publish(all); // again
  expect(changes).toEqual(['opened', 'closed']);
  await all.clock.advance(10_000);
  all.setSilent(n1);
  all.setUp(n1);
  await all.clock.advance(10_000);
  expect(changes).toEqual(['opened', 'closed', 'opened', 'closed', 'opened']);
});
