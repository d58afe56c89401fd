import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type LeaseCluster, type Link, makeLeaseCluster } from '../../test/make/lease-cluster.ts';
import { type LogLine, recordLog } from '../../test/sim/observers.ts';
import { type VirtualClock, virtualClock } from '../../test/sim/virtual-clock.ts';
import { filesOf } from '../../test/sim/harness.ts';
import { untilAborted } from '../async/abort.ts';
import type { Term } from '../controller/controller.ts';
import type { LeaseObject } from '../kube/lease-object.ts';
import { leadWhileHeld, servesAtStart } from './leadership.ts';
import { loadTenureRecord } from './tenure-record.ts';

/** One host that runs `leadWhileHeld`. */
type Host = {
  /** Whether it announces its addresses and accepts new connections. */
  readonly isServing: boolean;
  /** Each change of `isServing`, in order. */
  readonly changes: readonly boolean[];
  /** How often the work of a holder began. */
  readonly terms: number;
  readonly isWorking: boolean;
  /** The present term; publishes nothing by itself with `publishes: false`. */
  readonly term: Term | undefined;
  readonly log: readonly LogLine[];
  readonly ended: Promise<void>;
};

type Scene = { readonly cluster: LeaseCluster; readonly clock: VirtualClock; readonly stop: AbortController };

function makeScene(): Scene {
  return { cluster: makeLeaseCluster(), clock: virtualClock(), stop: new AbortController() };
}

/**
 * `knowsOthers`: it has recorded another candidate before. `files`: of its state directory. `publishes`: each term records
 * and publishes its first plan at once.
 */
function start(
  { cluster, clock, stop }: Scene,
  identity: string,
  {
    knowsOthers = false,
    onLeaseLoss = 'withdraw',
    publishes = true,
    files = new Map(),
    hostname = 'lb1',
    stop: { signal } = stop,
  }: Partial<{
    knowsOthers: boolean;
    onLeaseLoss: 'withdraw' | 'keep';
    publishes: boolean;
    files: Map<string, string>;
    hostname: string;
    stop: AbortController;
  }> = {},
): Host {
  const log = recordLog();
  const changes: boolean[] = [];
  let hasOthers = knowsOthers;
  let isServing = servesAtStart({ hasOthers: () => hasOthers, onLeaseLoss });
  let terms = 0;
  let isWorking = false;
  let present: Term | undefined;
  const lease = cluster.claimOf(identity, {
    clock,
    log,
    onOther: () => {
      hasOthers = true;
    },
  });
  const lead = async (): Promise<void> => {
    const tenures = await loadTenureRecord({
      path: '/tenure',
      ledgerPath: '/ledger',
      identity,
      hostname,
      files: filesOf(files),
      log,
    });
    await leadWhileHeld(
      {
        tenures,
        lease,
        leaseNamespace: 'ns',
        loadBalancerClass: 'furiwake.dev/haproxy',
        identity,
        setServing: (now) => {
          if (now !== isServing) changes.push(now);
          isServing = now;
        },
        hasOthers: () => hasOthers,
        onLeaseLoss,
        clock,
        log,
      },
      async (term, inner) => {
        terms += 1;
        isWorking = true;
        present = term;
        if (publishes) {
          term.recorded();
          term.published();
        }
        await untilAborted(inner);
        isWorking = false;
      },
      signal,
    );
  };
  const ended = lead();
  ended.catch(() => undefined);
  return {
    get isServing() {
      return isServing;
    },
    changes,
    get terms() {
      return terms;
    },
    get isWorking() {
      return isWorking;
    },
    get term() {
      return present;
    },
    log: log.lines,
    ended,
  };
}

const leaseOf = (holderIdentity: string, renewTime: string): LeaseObject => ({
  metadata: { namespace: 'ns', name: 'furiwake' },
  spec: { holderIdentity, leaseDurationSeconds: 15, renewTime },
});

/** Another host, visible only through the Lease, which it renews every five seconds. */
async function renewElsewhere({ cluster, clock }: Scene, identity: string, seconds: number): Promise<void> {
  for (let at = 0; at < seconds; at += 5) {
    cluster.lease = leaseOf(identity, `elsewhere ${clock.monotonic()}`);
    await clock.advance(5_000);
  }
}

const messages = ({ log }: Host, level: string): readonly string[] =>
  log.filter((line) => line.level === level).map(({ message }) => message);

test('a host that starts while another one holds the Lease withdraws, names the holder, and serves when that one has ended', async () => {
  const scene = makeScene();
  const host = start(scene, 'lb2_a-b');
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
  const host = start(scene, 'lb1_a-b');
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
  const host = start(scene, 'lb1_a-b');
  await scene.clock.advance(60_000);
  scene.cluster.lease = leaseOf('lb1_a-b', 'long ago');
  await scene.clock.advance(6_000);
  expect(host.isWorking).toBe(false);
  await scene.clock.advance(20_000);
  expect([host.changes, host.terms, host.isWorking]).toEqual([[], 2, true]);
  expect(messages(host, 'error')).toEqual([]);
});

test('with another host known, etcd restored from a backup withdraws until the Lease is held again', async () => {
  const scene = makeScene();
  const host = start(scene, 'lb1_a-b', { knowsOthers: true });
  await scene.clock.advance(60_000);
  scene.cluster.lease = leaseOf('lb1_a-b', 'long ago');
  await scene.clock.advance(30_000);
  expect([host.changes, host.terms]).toEqual([[true, false, true], 2]);
});

test('another process with the same identity means a copied state directory: the host withdraws and logs it', async () => {
  const scene = makeScene();
  const host = start(scene, 'lb1_a-b');
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
  const host = start(scene, 'lb1_a-b', { knowsOthers });
  await scene.clock.advance(1_000);
  scene.cluster.links.set('lb1_a-b', 'cut');
  await scene.clock.advance(8_000);
  expect(host.isServing).toBe(true);
  await scene.clock.advance(5_000);
  expect(host.isServing).toBe(!knowsOthers);
  await scene.clock.advance(60_000);
  scene.cluster.links.set('lb1_a-b', 'up');
  await scene.clock.advance(10_000);
  expect([host.changes, host.terms]).toEqual([changes, 1]);
});

test('with --on-lease-loss keep it never withdraws', async () => {
  const scene = makeScene();
  const host = start(scene, 'lb1_a-b', { knowsOthers: true, onLeaseLoss: 'keep' });
  await scene.clock.advance(7_000);
  await renewElsewhere(scene, 'lb2_c-d', 30);
  scene.cluster.links.set('lb1_a-b', 'cut');
  await scene.clock.advance(60_000);
  expect([host.changes, host.isWorking]).toEqual([[], false]);
});

test('two hosts that know of each other never serve at the same time, with any interruptions', async () => {
  const identities = ['lb1_a-b', 'lb2_c-d'] as const;
  const steps = fc.array(
    fc.record({
      host: fc.constantFrom(...identities),
      link: fc.constantFrom<Link>('up', 'cut', 'answers-lost'),
      seconds: fc.integer({ min: 1, max: 25 }),
      wallClockMs: fc.constantFrom(0, 0, 3_600_000, -3_600_000),
    }),
    { maxLength: 20 },
  );
  await fc.assert(
    fc.asyncProperty(steps, async (schedule) => {
      const scene = makeScene();
      const hosts = identities.map((identity) => start(scene, identity, { knowsOthers: true }));
      for (const { host, link, seconds, wallClockMs } of schedule) {
        scene.cluster.links.set(host, link);
        scene.clock.setWallClock(wallClockMs);
        for (let second = 0; second < seconds; second += 1) {
          await scene.clock.advance(1_000);
          expect(hosts.filter(({ isServing }) => isServing).length).toBeLessThanOrEqual(1);
        }
      }
      scene.cluster.links.clear();
      await scene.clock.advance(40_000);
      expect(hosts.filter(({ isServing }) => isServing)).toHaveLength(1);
      scene.stop.abort();
      await Promise.allSettled(hosts.map(({ ended }) => ended));
    }),
    { numRuns: 200 },
  );
});

test.each([
  ['a host that has always been alone serves', false, 'withdraw', true],
  ['a host that has seen another one does not serve', true, 'withdraw', false],
  ['a host that keeps its addresses serves', true, 'keep', true],
] as const)('%s its last table before it holds the Lease', (_, others, onLeaseLoss, serves) => {
  expect(servesAtStart({ hasOthers: () => others, onLeaseLoss })).toBe(serves);
});

test('a host that waited for another one serves with the first table of its term, not with the Lease', async () => {
  const scene = makeScene();
  const host = start(scene, 'lb1_a-b', { publishes: false });
  await renewElsewhere(scene, 'lb2_c-d', 10);
  await scene.clock.advance(20_000);
  expect([host.isWorking, host.changes, host.term?.isLedgerCurrent]).toEqual([true, [false], false]);
  host.term?.published();
  expect(host.changes).toEqual([false, true]);
});

test('a renewal after an interruption opens no host that has no table of its term', async () => {
  const scene = makeScene();
  const host = start(scene, 'lb1_a-b', { publishes: false, knowsOthers: true });
  await scene.clock.advance(1_000);
  scene.cluster.links.set('lb1_a-b', 'cut');
  await scene.clock.advance(20_000);
  scene.cluster.links.set('lb1_a-b', 'up');
  await scene.clock.advance(20_000);
  expect([host.changes, host.terms]).toEqual([[], 1]);
  host.term?.published();
  expect(host.changes).toEqual([true]);
});

test('a table that arrives after the Lease was lost opens nothing', async () => {
  const scene = makeScene();
  const host = start(scene, 'lb1_a-b', { publishes: false, knowsOthers: true });
  await scene.clock.advance(1_000);
  await renewElsewhere(scene, 'lb2_c-d', 10);
  host.term?.published();
  expect(host.changes).toEqual([]);
});

describe('a lone host that starts again', () => {
  /** Runs until its first plan is recorded (or not), then crashes or ends. */
  async function runOnce(scene: Scene, files: Map<string, string>, end: 'crash' | 'release', publishes = true) {
    const stop = new AbortController();
    const host = start(scene, 'lb1_a-b', { files, publishes, stop });
    await scene.clock.advance(12_000);
    if (end === 'crash') scene.cluster.links.set('lb1_a-b', 'cut');
    stop.abort();
    await scene.clock.drive(host.ended);
    scene.cluster.links.clear();
  }

  test.each(['crash', 'release'] as const)('after a %s trusts its ledger and serves at once', async (end) => {
    const scene = makeScene();
    const files = new Map<string, string>();
    await runOnce(scene, files, end);
    const host = start(scene, 'lb1_a-b', { files, publishes: false });
    await scene.clock.advance(1_000);
    expect([host.changes, host.terms, host.term?.isLedgerCurrent]).toEqual([[], 1, true]);
  });

  test('after a crash before its first plan does not trust its ledger, but serves', async () => {
    const scene = makeScene();
    const files = new Map<string, string>();
    await runOnce(scene, files, 'release');
    await runOnce(scene, files, 'crash', false);
    const host = start(scene, 'lb1_a-b', { files, publishes: false });
    await scene.clock.advance(1_000);
    expect([host.changes, host.terms, host.term?.isLedgerCurrent]).toEqual([[], 1, false]);
  });

  test('after another host held and released the Lease unseen, withdraws until it has a table', async () => {
    const scene = makeScene();
    const files = new Map<string, string>();
    await runOnce(scene, files, 'release');
    const other = new AbortController();
    const second = start(scene, 'lb2_c-d', { stop: other });
    await scene.clock.advance(1_000);
    other.abort();
    await scene.clock.drive(second.ended);
    const host = start(scene, 'lb1_a-b', { files, publishes: false });
    await scene.clock.advance(1_000);
    expect([host.changes, host.terms, host.term?.isLedgerCurrent]).toEqual([[false], 1, false]);
    host.term?.published();
    expect(host.changes).toEqual([false, true]);
  });
});

test('a host that was cut off while another one held and released the Lease begins a new term', async () => {
  const scene = makeScene();
  const host = start(scene, 'lb1_a-b', { publishes: false });
  await scene.clock.advance(1_000);
  host.term?.published();
  scene.cluster.links.set('lb1_a-b', 'cut');
  const other = new AbortController();
  const second = start(scene, 'lb2_c-d', { stop: other });
  await scene.clock.advance(30_000);
  expect(second.isWorking).toBe(true);
  other.abort();
  await scene.clock.drive(second.ended);
  scene.cluster.links.clear();
  await scene.clock.advance(10_000);
  expect([host.terms, host.changes, host.term?.isLedgerCurrent]).toEqual([2, [false], false]);
  expect(messages(host, 'error')).toEqual([expect.stringContaining('took over the Lease while this host was cut off')]);
});
