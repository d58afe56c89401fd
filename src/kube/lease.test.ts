import { expect, test } from 'vitest';
import { type LeaseClient, makeLeaseCluster } from '../../test/make/lease-cluster.ts';
import { slowly } from '../../test/make/slow-lease-client.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { type VirtualClock, virtualClock } from '../../test/sim/virtual-clock.ts';
import { KubeError } from './errors.ts';
import { type Lease, makeLease } from './lease.ts';

/** One host, and a cluster whose only namespace may be deleted. */
function makeScene(hasNamespace: boolean): {
  readonly lease: Lease;
  readonly clock: VirtualClock;
  readonly log: ReturnType<typeof recordLog>;
  readonly setNamespace: (isThere: boolean) => void;
} {
  const cluster = makeLeaseCluster();
  cluster.hasNamespace = hasNamespace;
  const clock = virtualClock();
  const log = recordLog();
  const lease = cluster.claimOf('box-1', { clock, log });
  return {
    lease,
    clock,
    log,
    setNamespace: (isThere) => {
      cluster.hasNamespace = isThere;
      if (!isThere) cluster.lease = undefined;
    },
  };
}

/** The same client, behind a balancer of two API servers of which one is frozen: every other read has no answer. */
function halfFrozen(client: LeaseClient, clock: VirtualClock): LeaseClient & { readonly unanswered: () => number } {
  let reads = 0;
  return {
    get: async (path, options) => {
      reads += 1;
      if (reads % 2 === 1) return await client.get(path, options);
      await clock.sleep(options?.timeoutMs ?? 0, new AbortController().signal);
      throw new KubeError({ code: 'TIMEOUT', message: 'no answer', verb: 'get', path });
    },
    create: (...request) => client.create(...request),
    replace: (...request) => client.replace(...request),
    unanswered: () => Math.floor(reads / 2),
  };
}

test('a namespace that does not exist is an error', async () => {
  const { lease, clock } = makeScene(false);
  await expect(clock.drive(lease.acquire(new AbortController().signal))).rejects.toMatchObject({
    code: 'NO_NAMESPACE',
    message: 'namespace ns does not exist',
  });
});

test('a namespace that is deleted while the Lease is held is reported once; the holder retries', async () => {
  const { lease, clock, log, setNamespace } = makeScene(true);
  const end = new AbortController();
  await lease.acquire(end.signal);
  const loss = lease.hold(end.signal);
  setNamespace(false);
  await clock.advance(60_000);
  expect(lease.isHolder()).toBe(false);
  expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  setNamespace(true);
  await clock.advance(10_000);
  expect(lease.isHolder()).toBe(true);
  end.abort();
  expect(await loss).toBeUndefined();
});

test.each([2_000, 3_000, 4_500])(
  'a Lease whose holder is dead is taken although each answer of the API server takes %d ms',
  async (answerMs) => {
    const cluster = makeLeaseCluster();
    const [clock, log] = [virtualClock(), recordLog()];
    const end = new AbortController();
    await cluster.claimOf('box-1', { clock, log }).acquire(end.signal); // and no renewal
    const slow = slowly(cluster.clientOf('box-2'), answerMs, clock);
    const lease = makeLease({
      client: slow,
      namespace: 'ns',
      name: 'furiwake',
      identity: 'box-2',
      random: () => 0.5,
      mayBeServed: cluster.mayBeServed,
      clock,
      log,
    });
    void lease.acquire(end.signal).catch(() => undefined);
    await clock.advance(45_000);
    expect(cluster.lease?.spec.holderIdentity).toBe('box-2');
    end.abort();
  },
);

test.each([100, 1_300, 2_200])(
  'a holder keeps its Lease while another host waits and each answer takes %d ms',
  async (answerMs) => {
    const cluster = makeLeaseCluster();
    const [clock, log] = [virtualClock(), recordLog()];
    const end = new AbortController();
    const lease = makeLease({
      client: slowly(cluster.clientOf('box-1'), answerMs, clock),
      namespace: 'ns',
      name: 'furiwake',
      identity: 'box-1',
      random: () => 0.5,
      mayBeServed: cluster.mayBeServed,
      clock,
      log,
    });
    await clock.drive(lease.acquire(end.signal));
    void lease.hold(end.signal);
    await clock.advance(10_000);
    void cluster
      .claimOf('box-2', { clock, log })
      .acquire(end.signal)
      .catch(() => undefined);
    let lapses = 0;
    for (let tenths = 0; tenths < 3_000; tenths += 1) {
      await clock.advance(100);
      if (!lease.isHolder()) lapses += 1;
    }
    expect(lapses).toBe(0);
    end.abort();
  },
);

test.each([
  [1_000, 1_000],
  [3_400, 3_400],
  [4_300, 4_300],
  [100, 3_400],
])(
  'a host that is alone renews its Lease although each answer takes %d ms, and %d ms after it was cut off',
  async (firstMs, thenMs) => {
    let answerMs = firstMs;
    const cluster = makeLeaseCluster();
    const [clock, log] = [virtualClock(), recordLog()];
    const end = new AbortController();
    const lease = makeLease({
      client: slowly(cluster.clientOf('box-1'), () => answerMs, clock),
      namespace: 'ns',
      name: 'furiwake',
      identity: 'box-1',
      random: () => 0.5,
      mayBeServed: cluster.mayBeServed,
      clock,
      log,
    });
    await clock.drive(lease.acquire(end.signal));
    void lease.hold(end.signal);
    const lapses = async (): Promise<number> => {
      let found = 0;
      await clock.advance(15_000); // the first renewal is late
      for (let tenths = 0; tenths < 600; tenths += 1) {
        await clock.advance(100);
        if (!lease.isHolder()) found += 1;
      }
      return found;
    };
    expect(await lapses()).toBe(0);
    cluster.links.set('box-1', 'cut');
    await clock.advance(30_000);
    expect(lease.isHolder()).toBe(false);
    answerMs = thenMs;
    cluster.links.set('box-1', 'up');
    expect(await lapses()).toBe(0);
    end.abort();
  },
);

test.each([0, 250])(
  'a holder keeps its Lease while another host waits, every other read has no answer, and the others take %d ms',
  async (answerMs) => {
    const cluster = makeLeaseCluster();
    const [clock, log] = [virtualClock(), recordLog()];
    const end = new AbortController();
    const client = halfFrozen(slowly(cluster.clientOf('box-1'), answerMs, clock), clock);
    const lease = makeLease({
      client,
      namespace: 'ns',
      name: 'furiwake',
      identity: 'box-1',
      random: () => 0.5,
      mayBeServed: cluster.mayBeServed,
      clock,
      log,
    });
    await clock.drive(lease.acquire(end.signal));
    void lease.hold(end.signal);
    void cluster
      .claimOf('box-2', { clock, log })
      .acquire(end.signal)
      .catch(() => undefined);
    let lapses = 0;
    for (let tenths = 0; tenths < 1_200; tenths += 1) {
      await clock.advance(100);
      if (!lease.isHolder()) lapses += 1;
    }
    expect(client.unanswered()).toBeGreaterThan(3);
    expect(lapses).toBe(0);
    end.abort();
  },
);

test('a holder keeps its Lease when it was deleted, and the first request that creates it again has no answer', async () => {
  const cluster = makeLeaseCluster();
  const [clock, log] = [virtualClock(), recordLog()];
  const end = new AbortController();
  const { get, create, replace } = cluster.clientOf('box-1');
  let creations = 0;
  const client: LeaseClient = {
    get,
    replace,
    create: async (path, body, options) => {
      creations += 1;
      if (creations !== 2) return await create(path, body, options);
      await clock.sleep(options?.timeoutMs ?? 0, new AbortController().signal);
      throw new KubeError({ code: 'TIMEOUT', message: 'no answer', verb: 'create', path });
    },
  };
  const random = (): number => 0.5;
  const { mayBeServed } = cluster;
  const lease = makeLease({
    client,
    namespace: 'ns',
    name: 'furiwake',
    identity: 'box-1',
    mayBeServed,
    random,
    clock,
    log,
  });
  await clock.drive(lease.acquire(end.signal));
  void lease.hold(end.signal);
  await clock.advance(6_000);
  cluster.lease = undefined;
  let lapses = 0;
  for (let tenths = 0; tenths < 200; tenths += 1) {
    await clock.advance(100);
    if (!lease.isHolder()) lapses += 1;
  }
  expect([creations, lapses]).toEqual([3, 0]);
  end.abort();
});

test('a claim writes the note that this host keeps its addresses, and a release removes it unless they stay', async () => {
  const cluster = makeLeaseCluster();
  const [clock, log] = [virtualClock(), recordLog()];
  const end = new AbortController();
  let keeps = true;
  const lease = cluster.claimOf('box-1', { clock, log, keepsAddresses: () => keeps });
  const note = (): string | undefined => cluster.lease?.metadata.annotations?.['furiwake.dev/kept-addresses'];
  await lease.acquire(end.signal);
  expect(note()).toMatch(/^\{"box-1":/);
  void lease.hold(end.signal);
  keeps = false;
  await clock.advance(6_000);
  expect(note()).toBe('{}');
  await lease.release(true);
  expect(note()).toMatch(/^\{"box-1":/);
  keeps = true;
  await lease.acquire(end.signal);
  await lease.release();
  expect(note()).toBe('{}');
  end.abort();
});

test('a Lease whose duration another client has shortened is not taken from a holder that lives', async () => {
  const cluster = makeLeaseCluster();
  const [clock, log] = [virtualClock(), recordLog()];
  const end = new AbortController();
  const [mine, other] = ['box-1', 'box-2'].map((host) => cluster.claimOf(host, { clock, log }));
  await mine?.acquire(end.signal);
  void mine?.hold(end.signal);
  void other?.acquire(end.signal).catch(() => undefined);
  await clock.advance(11_000);
  const { lease } = cluster;
  if (lease !== undefined) cluster.lease = { ...lease, spec: { ...lease.spec, leaseDurationSeconds: 1 } };
  let holders = 0;
  for (let tenths = 0; tenths < 200; tenths += 1) {
    await clock.advance(100);
    holders = Math.max(holders, [mine, other].filter((each) => each?.isHolder()).length);
  }
  expect(holders).toBe(1);
  expect(mine?.isHolder()).toBe(true);
  end.abort();
});
