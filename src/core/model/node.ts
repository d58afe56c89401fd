import type { Ip } from '../ip/ip.ts';
import type { IpRange } from '../ip/range.ts';
import type { NodeName } from './names.ts';

/** A cluster node as the stores keep it. */
export type Node = {
  readonly name: NodeName;
  /** First InternalIP of each family, else the first ExternalIP; at most one per family. */
  readonly addresses: readonly Ip[];
  /** Every address of the node's status: none of them may be handed out. */
  readonly allAddresses: readonly Ip[];
  /** Addresses of its Pods; none where the cluster does not allocate them by node. */
  readonly podCidrs: readonly IpRange[];
  /**
   * Set when the node must get no new connections: deleted, excluded by label
   * `node.kubernetes.io/exclude-from-external-load-balancers` (value `"false"` does not exclude), or tainted
   * `ToBeDeletedByClusterAutoscaler`. Readiness is no reason (KEP-3458).
   */
  readonly excluded: 'deleted' | 'label' | 'taint' | undefined;
};
