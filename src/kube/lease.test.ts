import { expect, test } from 'vitest';
import { makeLeaseCluster } from '../../test/make/lease-cluster.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { type VirtualClock, virtualClock } from '../../test/sim/virtual-clock.ts';
import type { Lease } from './lease.ts';

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
