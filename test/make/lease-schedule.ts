import fc from 'fast-check';
import type { LeaseObject } from '../../src/kube/lease-object.ts';
import type { VirtualClock } from '../sim/virtual-clock.ts';
import type { Connectivity, LeaseCluster } from './lease-cluster.ts';

/** The hosts of a schedule. */
export const boxes = ['box-1', 'box-2', 'box-3'] as const;

type LeaseSchedule = readonly {
  readonly host: string;
  readonly link: Connectivity;
  readonly seconds: number;
  readonly wallClockMs: number;
  readonly act: string;
}[];

/** What happens to the links and processes of hosts, to the wall clock and to the Lease, step by step. */
export const anyLeaseSchedule: fc.Arbitrary<LeaseSchedule> = fc.array(
  fc.record({
    host: fc.constantFrom(...boxes),
    link: fc.constantFrom<Connectivity>('up', 'cut', 'answers-lost', 'outrun'),
    seconds: fc.integer({ min: 1, max: 25 }),
    wallClockMs: fc.constantFrom(0, 0, 3_600_000, -3_600_000),
    act: fc.constantFrom('none', 'none', 'deleted', 'emptied', 'saved', 'restored', 'restarted'),
  }),
  { maxLength: 20 },
);

/** Plays the schedule after the hosts have met, and calls `check` each second; then all links are up for a minute. */
export async function playLeaseSchedule(
  schedule: LeaseSchedule,
  {
    cluster,
    clock,
    restart,
    check,
  }: {
    readonly cluster: LeaseCluster;
    readonly clock: VirtualClock;
    readonly restart: (host: string) => void;
    readonly check: () => void;
  },
): Promise<void> {
  await clock.advance(11_000); // the hosts know of each other
  let backup: LeaseObject | undefined;
  let [heldSinceMs, allUpSinceMs, removedAtMs] = [0, 0, -Infinity];
  let shown = cluster.lease?.spec;
  for (const { host, link, seconds, wallClockMs, act } of schedule) {
    cluster.links.set(host, link);
    const { lease } = cluster;
    if (act === 'saved') backup = lease;
    // Gaps (ADR 0014): a Lease that is removed twice within a minute; a backup of a Lease whose holder changed seconds ago, so that a
    // candidate does not know of it, or with the last Lease that a host saw before it was cut off.
    const nowMs = clock.monotonic();
    const isRemoved = (act === 'deleted' || act === 'emptied') && nowMs - removedAtMs > 60_000;
    if (isRemoved) removedAtMs = nowMs;
    const isShown = nowMs - heldSinceMs > 3_000 && nowMs - allUpSinceMs > 3_000;
    if (isRemoved && lease !== undefined)
      cluster.lease = act === 'deleted' ? undefined : { ...lease, spec: { ...lease.spec, holderIdentity: '' } };
    if (act === 'restored' && lease !== undefined && isShown) cluster.lease = backup ?? lease;
    if (act === 'restarted') restart(host);
    clock.setWallClock(wallClockMs);
    for (let second = 0; second < seconds; second += 1) {
      await clock.advance(1_000);
      const spec = cluster.lease?.spec;
      if (spec?.acquireTime !== shown?.acquireTime) heldSinceMs = clock.monotonic();
      if (boxes.some((box) => (cluster.links.get(box) ?? 'up') !== 'up')) allUpSinceMs = clock.monotonic();
      shown = spec;
      check();
    }
  }
  cluster.links.clear();
  await clock.advance(60_000);
}
