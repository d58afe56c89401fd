import type { KubeClient } from '../kube/client.ts';
import { isKubeError } from '../kube/errors.ts';
import { isSameTenure, type LeaseObject, tenureOf } from '../kube/lease-object.ts';
import { resourcePath } from '../kube/paths.ts';
import type { FormerClass } from './tenure-record.ts';

const leases = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' };

/**
 * Whether another host has taken over the class that this host served before its flags were changed: its Services, and their
 * addresses, are that host's then, although the ledger and the last table of this one have them.
 *
 *   the state directory is a copy                → yes
 *   no such Lease                                → no
 *   held by this host when it ended              → no
 *   released by this host, and free since        → no
 *   held by another host, or released by one     → yes
 *
 * Throws `KubeError`.
 */
export async function isTakenOver(
  { leaseName, host, ...former }: FormerClass,
  {
    client,
    namespace,
    identity,
    hostname,
  }: {
    readonly client: Pick<KubeClient, 'get'>;
    readonly namespace: string;
    readonly identity: string;
    readonly hostname: string;
  },
  signal: AbortSignal,
): Promise<boolean> {
  if (host !== hostname) return true;
  try {
    const lease = tenureOf(
      await client.get<LeaseObject>(resourcePath(leases, { namespace, name: leaseName }), { signal }),
    );
    return lease.holder === '' ? !isSameTenure(lease, former) : lease.holder !== identity;
  } catch (error) {
    if (isKubeError(error, 'NOT_FOUND')) return false;
    throw error;
  }
}
