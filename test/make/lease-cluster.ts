import type { KubeClient } from '../../src/kube/client.ts';
import { KubeError, type KubeErrorCode } from '../../src/kube/errors.ts';
import { type Lease, makeLease } from '../../src/kube/lease.ts';
import type { LeaseObject } from '../../src/kube/lease-object.ts';

/**
 * The fate of the requests of one host: answered, not delivered, or executed without an answer; `outrun`: another client always writes
 * first.
 */
export type Connectivity = 'up' | 'cut' | 'answers-lost' | 'outrun';

export type LeaseClient = Pick<KubeClient, 'get' | 'create' | 'replace'>;

type MakeLeaseDeps = Parameters<typeof makeLease>[0];

/** An API server that holds one Lease, and a link to it for each host. Keeps to the contract of an API server (test/contract/leases.ts). */
export type LeaseCluster = {
  readonly links: Map<string, Connectivity>;
  /** Without its namespace the Lease cannot be created. */
  hasNamespace: boolean;
  lease: LeaseObject | undefined;
  /** Once a host has held the Lease, Services have its finalizer. */
  readonly mayBeServed: () => Promise<boolean>;
  clientOf(host: string): LeaseClient;
  /** A host's claim to the Lease `ns/furiwake`. */
  claimOf(
    host: string,
    deps: Pick<MakeLeaseDeps, 'clock' | 'log' | 'onOther' | 'hasOthers'> &
      Partial<Pick<MakeLeaseDeps, 'mayBeServed' | 'keepsAddresses'>>,
  ): Lease;
};

export function makeLeaseCluster(): LeaseCluster {
  let version = 0;
  let lease: LeaseObject | undefined;
  const links = new Map<string, Connectivity>();

  const accept = (object: LeaseObject): LeaseObject =>
    object.spec.leaseDurationSeconds === 0 ? fail('INVALID') : store(object);
  const store = (object: LeaseObject): LeaseObject => {
    version += 1;
    const metadata = {
      ...object.metadata,
      uid: object.metadata.uid ?? `uid-${version}`,
      resourceVersion: String(version),
    };
    lease = { ...object, metadata };
    return lease;
  };
  const answer = async <T>(host: string, work: () => T): Promise<T> => {
    const link = links.get(host) ?? 'up';
    if (link === 'cut') return fail('UNREACHABLE');
    const result = work();
    return link === 'answers-lost' ? fail('TIMEOUT') : result;
  };

  const cluster: LeaseCluster = {
    links,
    hasNamespace: true,
    get lease() {
      return lease;
    },
    set lease(object) {
      if (object === undefined) lease = undefined;
      else store(object);
    },
    mayBeServed: () => Promise.resolve(version > 0),
    clientOf: (host) => {
      const client = {
        get: () => answer(host, () => lease ?? fail('NOT_FOUND')),
        create: (_: string, body: LeaseObject) =>
          answer(host, () => {
            if (!cluster.hasNamespace) return fail('NOT_FOUND');
            return lease === undefined ? accept(body) : fail('ALREADY_EXISTS');
          }),
        replace: (_: string, body: LeaseObject) =>
          answer(host, () => {
            if (links.get(host) === 'outrun') return fail('CONFLICT');
            if (body.metadata.resourceVersion === undefined) return fail('INVALID');
            // Also without a Lease: the body has the uid of the deleted one.
            return lease?.metadata.resourceVersion === body.metadata.resourceVersion ? accept(body) : fail('CONFLICT');
          }),
      };
      return client as unknown as LeaseClient;
    },
    claimOf: (identity, deps) =>
      makeLease({
        client: cluster.clientOf(identity),
        namespace: 'ns',
        name: 'furiwake',
        identity,
        mayBeServed: cluster.mayBeServed,
        random: () => 0.5,
        ...deps,
      }),
  };
  return cluster;
}

const statuses: Partial<Record<KubeErrorCode, number>> = {
  NOT_FOUND: 404,
  CONFLICT: 409,
  ALREADY_EXISTS: 409,
  INVALID: 422,
};

function fail(code: KubeErrorCode): never {
  const status = statuses[code];
  throw new KubeError({ code, status, message: `refused with ${code}`, verb: 'get', path: '/leases' });
}
