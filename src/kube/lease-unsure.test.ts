import { expect, test } from 'vitest';
import { makeLeaseCluster } from '../../test/make/lease-cluster.ts';
import { slowly } from '../../test/make/slow-lease-client.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { type Lease, makeLease } from './lease.ts';

/** A process that starts after `box-1` has held the Lease, and finds none. */
function makeScene({ answerMs = 0 } = {}) {
  const cluster = makeLeaseCluster();
  const [clock, log, end] = [virtualClock(), recordLog(), new AbortController()];
  const holder = cluster.claimOf('box-1', { clock, log });
  const started = (): Lease => {
    const lease = makeLease({
      client: slowly(cluster.clientOf('box-2'), answerMs, clock),
      mayBeServed: cluster.mayBeServed,
      namespace: 'ns',
      name: 'furiwake',
      identity: 'box-2',
      random: () => 0.5,
      clock,
      log,
    });
    void lease.acquire(end.signal).catch(() => undefined);
    return lease;
  };
  return { cluster, clock, log, end, holder, started };
}

test('the first process takes a Lease that does not exist at once', async () => {
  const { clock, started } = makeScene();
  const lease = started();
  await clock.advance(1);
  expect(lease.isHolder()).toBe(true);
});

test.each([
  ['was deleted by hand', undefined],
  ['was emptied by hand', ''],
])('a process that starts when the Lease %s leaves it to a holder that lives', async (_, holderIdentity) => {
  const { cluster, clock, end, holder, started } = makeScene();
  await holder.acquire(end.signal);
  void holder.hold(end.signal);
  await clock.advance(6_000);
  const { lease } = cluster;
  cluster.lease =
    holderIdentity === undefined || !lease ? undefined : { ...lease, spec: { ...lease.spec, holderIdentity } };
  const late = started();
  for (let seconds = 0; seconds < 60; seconds += 1) {
    await clock.advance(1_000);
    expect([holder.isHolder(), late.isHolder()]).toEqual([true, false]);
  }
  end.abort();
});

test.each([
  [0, 14, 18],
  [3_000, 14, 45],
])(
  'where answers take %d ms, a Lease that was deleted is taken when its dead holder would have ended: not after %d s, and before %d s',
  async (answerMs, notBeforeSeconds, beforeSeconds) => {
    const { cluster, clock, end, holder, started } = makeScene({ answerMs });
    await holder.acquire(end.signal);
    cluster.lease = undefined;
    const late = started();
    await clock.advance(notBeforeSeconds * 1000);
    expect(late.isHolder()).toBe(false);
    let isHeld = false;
    for (let seconds = notBeforeSeconds; seconds < beforeSeconds && !isHeld; seconds += 1) {
      await clock.advance(1_000);
      isHeld = late.isHolder();
    }
    expect(isHeld).toBe(true);
    end.abort();
  },
);

test('a Lease that another host takes and releases meanwhile is taken at once', async () => {
  const { cluster, clock, log, end, holder, started } = makeScene();
  await holder.acquire(end.signal);
  cluster.lease = undefined;
  const late = started();
  await clock.advance(3_000);
  const other = cluster.claimOf('box-3', { clock, log, mayBeServed: () => Promise.resolve(false) });
  await other.acquire(end.signal);
  await other.release();
  await clock.advance(3_000);
  expect(late.isHolder()).toBe(true);
  end.abort();
});
