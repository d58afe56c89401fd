import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type Host,
  leaseOf,
  makeScene,
  messages,
  renewElsewhere,
  startLeading,
} from '../../test/make/leading-hosts.ts';
import type { Connectivity } from '../../test/make/lease-cluster.ts';
import { withCandidate } from '../kube/lease-object.ts';

test('a host that starts while another one holds the Lease withdraws, names the holder, and serves when that one has ended', async () => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb2_a-b');
  await renewElsewhere(scene, 'lb1_53b6-f3d2', 30);
  expect([host.changes, host.terms]).toEqual([[false], 0]);
  expect(messages(host, 'warn')).toEqual([
    'host lb1 holds the Lease for class furiwake.dev/haproxy; taking over when it expires (in 15 s unless renewed) or is released',
  ]);
  await scene.clock.advance(20_000);
  expect([host.changes, host.terms, host.isWorking]).toEqual([[false, true], 1, true]);
});

test('a host that loses the Lease to another one withdraws, ends its work, and begins again when it can', async () => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b');
  await scene.clock.advance(7_000);
  await renewElsewhere(scene, 'lb2_c-d', 30);
  expect([host.changes, host.isWorking]).toEqual([[false], false]);
  expect(messages(host, 'error')).toEqual([
    'host lb2 took over the Lease: this host no longer serves; its addresses are withdrawn, established connections continue',
  ]);
  await scene.clock.advance(20_000);
  expect([host.changes, host.terms]).toEqual([[false, true], 2]);
});

test('a host that has always been alone continues to serve when etcd is restored from a backup, and reads the cluster again', async () => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b');
  await scene.clock.advance(60_000);
  scene.cluster.lease = leaseOf('lb1_a-b', 'long ago');
  await scene.clock.advance(6_000);
  expect(host.isWorking).toBe(false);
  await scene.clock.advance(20_000);
  expect([host.changes, host.terms, host.isWorking]).toEqual([[], 2, true]);
  expect(messages(host, 'error')).toEqual([]);
});

test.each([
  ['deleted', undefined],
  ['emptied by hand', ''],
])(
  'a Lease that is %s stays with its holder; a host that waits takes it when it would have expired',
  async (_, holder) => {
    const scene = makeScene();
    const [first, second] = [startLeading(scene, 'lb1_a-b'), startLeading(scene, 'lb2_c-d')];
    await scene.clock.advance(11_000);
    const remove = (): void => {
      const { lease } = scene.cluster;
      scene.cluster.lease =
        holder === undefined || lease === undefined
          ? undefined
          : { ...lease, spec: { ...lease.spec, holderIdentity: holder } };
    };
    remove();
    await scene.clock.advance(20_000);
    expect([first.changes, second.changes]).toEqual([[], [false]]);
    scene.cluster.links.set('lb1_a-b', 'cut');
    remove();
    await scene.clock.advance(14_000);
    expect([first.changes, second.changes]).toEqual([[false], [false]]);
    await scene.clock.advance(5_000);
    expect(second.changes).toEqual([false, true]);
    expect(messages(second, 'warn')).toContainEqual(
      'the Lease was deleted or emptied while host lb1 held it; taking it in 15 s unless that host writes it again',
    );
  },
);

test('after an outage of the API server for all hosts, the holder that lives keeps the Lease, and a dead one is succeeded', async () => {
  for (let seconds = 12; seconds <= 40; seconds += 1) {
    const scene = makeScene();
    const stop = new AbortController();
    const first = startLeading(scene, 'lb1_a-b', { knowsOthers: true, stop });
    const others = ['lb2_c-d', 'lb3_e-f'].map((identity) => startLeading(scene, identity));
    await scene.clock.advance(11_000);
    const cut = (): void => {
      for (const host of ['lb1_a-b', 'lb2_c-d', 'lb3_e-f']) scene.cluster.links.set(host, 'cut');
    };
    cut();
    await scene.clock.advance(seconds * 1_000);
    scene.cluster.links.clear();
    await scene.clock.advance(10_000);
    expect([seconds, first.terms, ...others.map(({ terms }) => terms)]).toEqual([seconds, 1, 0, 0]);
    cut();
    stop.abort();
    await scene.clock.advance(seconds * 1_000);
    scene.cluster.links.clear();
    await scene.clock.advance(14_000);
    expect([seconds, others.reduce((sum, { terms }) => sum + terms, 0)]).toEqual([seconds, 1]);
  }
});

test('with another host known, an older Lease of this process changes no traffic, and the cluster is read again', async () => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b', { knowsOthers: true });
  await scene.clock.advance(1_000);
  const backup = scene.cluster.lease;
  await scene.clock.advance(60_000);
  scene.cluster.lease = backup;
  await scene.clock.advance(6_000);
  expect([host.changes, host.terms, host.isWorking]).toEqual([[true], 2, true]);
  expect(messages(host, 'error')).toEqual([]);
  // After its own Lease has ended another host may have held it.
  scene.cluster.links.set('lb1_a-b', 'cut');
  await scene.clock.advance(20_000);
  scene.cluster.lease = backup;
  scene.cluster.links.clear();
  await scene.clock.advance(10_000);
  expect([host.changes, host.terms]).toEqual([[true, false], 2]);
});

test.each([1, 60])(
  'an outage of the API server for %d minutes, in which a candidate writes its entry, does not count as a restored backup',
  async (minutes) => {
    const scene = makeScene();
    const host = startLeading(scene, 'lb1_a-b', { knowsOthers: true });
    await scene.clock.advance(20_000);
    scene.cluster.links.set('lb1_a-b', 'cut');
    await scene.clock.advance(minutes * 60_000);
    const { lease } = scene.cluster;
    if (lease !== undefined) scene.cluster.lease = withCandidate(lease, 'lb2_c-d', 0);
    scene.cluster.links.clear();
    await scene.clock.advance(4_000);
    expect([host.changes, host.terms]).toEqual([[true, false, true], 1]);
  },
);

test('with another host known, etcd restored from a backup withdraws until the Lease is held again', async () => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b', { knowsOthers: true });
  await scene.clock.advance(60_000);
  scene.cluster.lease = leaseOf('lb1_a-b', 'long ago');
  await scene.clock.advance(30_000);
  expect([host.changes, host.terms]).toEqual([[true, false, true], 2]);
  expect(messages(host, 'error')).toEqual([
    'the Lease was changed with the identity of this host (was etcd restored from a backup?): its addresses are withdrawn, established connections continue, until it is known whether another process renews the Lease',
  ]);
});

test('another process with the same identity means a copied state directory: the host withdraws and logs it', async () => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b');
  await scene.clock.advance(7_000);
  await renewElsewhere(scene, 'lb1_a-b', 40);
  expect([host.changes, host.isWorking]).toEqual([[false], false]);
  expect(messages(host, 'error')).toEqual([expect.stringContaining('one state directory is a copy of the other')]);
});

test.each([
  ['always been alone', false, []],
  ['seen another one', true, [true, false, true]],
])('a host that is cut off and has %s', async (_, knowsOthers, changes) => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b', { knowsOthers });
  await scene.clock.advance(1_000);
  scene.cluster.links.set('lb1_a-b', 'cut');
  await scene.clock.advance(8_000);
  expect(host.isServing).toBe(true);
  await scene.clock.advance(1_500);
  expect(host.isServing).toBe(!knowsOthers);
  await scene.clock.advance(60_000);
  scene.cluster.links.set('lb1_a-b', 'up');
  await scene.clock.advance(10_000);
  expect([host.changes, host.terms]).toEqual([changes, 1]);
});

test('with --on-lease-loss keep it never withdraws', async () => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b', { knowsOthers: true, onLeaseLoss: 'keep' });
  await scene.clock.advance(7_000);
  await renewElsewhere(scene, 'lb2_c-d', 30);
  scene.cluster.links.set('lb1_a-b', 'cut');
  await scene.clock.advance(60_000);
  expect([host.changes, host.isWorking]).toEqual([[], false]);
});

test('two hosts that know of each other never answer at the same time, with any interruptions, ends and crashes', async () => {
  const identities = ['lb1_a-b', 'lb2_c-d'] as const;
  const steps = fc.array(
    fc.record({
      host: fc.constantFrom(...identities),
      /** A process that has ended starts again at its next step. */
      event: fc.constantFrom<Connectivity | 'ends' | 'crashes'>('up', 'cut', 'answers-lost', 'ends', 'crashes'),
      seconds: fc.integer({ min: 1, max: 25 }),
      wallClockMs: fc.constantFrom(0, 0, 3_600_000, -3_600_000),
    }),
    { maxLength: 20 },
  );
  await fc.assert(
    fc.asyncProperty(steps, async (schedule) => {
      const scene = makeScene();
      const { clock, cluster } = scene;
      const files = new Map<string, Map<string, string>>(identities.map((identity) => [identity, new Map()]));
      /** The kernel keeps the addresses of the process before. */
      const start = (identity: string, before?: Host): { host: Host; stop: AbortController } => {
        const stop = new AbortController();
        const options = {
          knowsOthers: true,
          stop,
          files: files.get(identity)!,
          leftUntilMs: before?.endMs ?? -Infinity,
        };
        return { host: startLeading(scene, identity, options), stop };
      };
      const running = new Map(identities.map((identity) => [identity, start(identity)]));
      const answering = (): number => [...running.values()].filter(({ host }) => host.answers).length;
      for (const { host, event, seconds, wallClockMs } of schedule) {
        const present = running.get(host);
        if (present?.stop.signal.aborted === true) running.set(host, start(host, present.host));
        cluster.links.set(host, event === 'crashes' ? 'cut' : event === 'ends' ? 'up' : event);
        if (event === 'ends' || event === 'crashes') running.get(host)?.stop.abort();
        clock.setWallClock(wallClockMs);
        for (let second = 0; second < seconds; second += 1) {
          await clock.advance(1_000);
          expect(answering()).toBeLessThanOrEqual(1);
        }
      }
      cluster.links.clear();
      for (const [identity, { host, stop }] of running)
        if (stop.signal.aborted) running.set(identity, start(identity, host));
      await clock.advance(40_000);
      expect(answering()).toBe(1);
      for (const { stop } of running.values()) stop.abort();
      await Promise.allSettled(Array.from(running.values(), ({ host }) => host.ended));
    }),
    { numRuns: 200 },
  );
});

test.each([
  ['been alone: it releases the Lease and keeps its addresses', false, ['', undefined]],
  [
    'seen another one: it keeps the Lease for its restart, and its kernel removes the addresses',
    true,
    ['lb1_a-b', 17_000],
  ],
])('a host ends that has %s', async (_, knowsOthers, expected) => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b', { knowsOthers });
  await scene.clock.advance(7_000);
  scene.stop.abort();
  await scene.clock.drive(host.ended).catch(() => undefined);
  expect([scene.cluster.lease?.spec.holderIdentity, host.answersUntilMs]).toEqual(expected);
});

test('without its record of candidates, a host counts as alone again when the other one has been gone for a minute', async () => {
  const scene = makeScene();
  const [stopA, stopB] = [new AbortController(), new AbortController()];
  const a = startLeading(scene, 'lb1_a-b', { stop: stopA });
  await scene.clock.advance(20_000);
  const b = startLeading(scene, 'lb2_c-d', { stop: stopB });
  await scene.clock.advance(30_000);
  stopB.abort();
  await scene.clock.drive(b.ended.catch(() => undefined));
  const entries = (): string | undefined => scene.cluster.lease?.metadata.annotations?.['furiwake.dev/candidates'];
  await scene.clock.advance(50_000);
  expect(entries()).toContain('lb2_c-d');
  await scene.clock.advance(20_000);
  expect(entries()).toBe('{}');
  stopA.abort();
  await scene.clock.drive(a.ended.catch(() => undefined));

  const again = startLeading(scene, 'lb1_a-b');
  await scene.clock.advance(30_000);
  scene.cluster.links.set('lb1_a-b', 'cut');
  await scene.clock.advance(60_000);
  expect(again.isServing).toBe(true);
});

test('a candidate that still waits stays in the Lease, and is added again after a silence', async () => {
  const scene = makeScene();
  startLeading(scene, 'lb1_a-b');
  await scene.clock.advance(20_000);
  startLeading(scene, 'lb2_c-d');
  const entries = (): string | undefined => scene.cluster.lease?.metadata.annotations?.['furiwake.dev/candidates'];
  await scene.clock.advance(600_000);
  expect(entries()).toContain('lb2_c-d');
  scene.cluster.links.set('lb2_c-d', 'cut');
  await scene.clock.advance(80_000);
  expect(entries()).toBe('{}');
  scene.cluster.links.set('lb2_c-d', 'up');
  await scene.clock.advance(20_000);
  expect(entries()).toContain('lb2_c-d');
});
