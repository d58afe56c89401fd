import { expect, test } from 'vitest';
import { recordLog } from '../../test/sim/observers.ts';
import { type VirtualClock, virtualClock } from '../../test/sim/virtual-clock.ts';
import type { KubeClient } from './client.ts';
import { KubeError } from './errors.ts';
import { type Lease, makeLease } from './lease.ts';
import type { LeaseObject } from './lease-object.ts';

const notFound = (message: string): Promise<never> =>
  Promise.reject(new KubeError({ code: 'NOT_FOUND', status: 404, message, verb: 'create', path: '/leases' }));

/** A cluster whose only namespace may go and come. */
function makeScene(hasNamespace: boolean): {
  readonly lease: Lease;
  readonly clock: VirtualClock;
  readonly log: ReturnType<typeof recordLog>;
  readonly setNamespace: (isThere: boolean) => void;
} {
  let isThere = hasNamespace;
  let version = 0;
  let stored: LeaseObject | undefined;
  const write = (body: unknown): Promise<LeaseObject> => {
    const lease = body as LeaseObject;
    stored = { ...lease, metadata: { ...lease.metadata, resourceVersion: String(++version) } };
    return Promise.resolve(stored);
  };
  const client = {
    get: () => (stored === undefined ? notFound('leases "furiwake" not found') : Promise.resolve(stored)),
    create: (_: string, body: unknown) => (isThere ? write(body) : notFound('namespaces "ns" not found')),
    replace: (_: string, body: unknown) => (stored === undefined ? notFound('no such lease') : write(body)),
  } as Pick<KubeClient, 'get' | 'create' | 'replace'>;
  const clock = virtualClock();
  const log = recordLog();
  const lease = makeLease({
    client,
    namespace: 'ns',
    name: 'furiwake',
    identity: 'box-1',
    clock,
    random: () => 0,
    log,
  });
  return {
    lease,
    clock,
    log,
    setNamespace: (now) => {
      isThere = now;
      if (!now) stored = undefined;
    },
  };
}

test('a namespace that does not exist is not waited for', async () => {
  const { lease, clock } = makeScene(false);
  await expect(clock.drive(lease.acquire(new AbortController().signal))).rejects.toMatchObject({
    code: 'NO_NAMESPACE',
    message: 'namespace ns does not exist',
  });
});

test('a namespace that is deleted while the Lease is held is reported once, and waited for', async () => {
  const { lease, clock, log, setNamespace } = makeScene(true);
  const end = new AbortController();
  await lease.acquire(end.signal);
  const loss = lease.hold(end.signal);
  setNamespace(false);
  await clock.advance(60_000);
  expect(lease.isHeld()).toBe(false);
  expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  setNamespace(true);
  await clock.advance(10_000);
  expect(lease.isHeld()).toBe(true);
  end.abort();
  expect(await loss).toEqual({ reason: 'released' });
});
