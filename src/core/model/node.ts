import type { Ip } from '../ip/ip.ts';
import type { IpRange } from '../ip/range.ts';
import type { NodeName } from './names.ts';

/** A cluster node, reduced to the fields that furiwake uses. */
export type Node = {
  readonly name: NodeName;
  readonly createdAtMs: number;
  /** First InternalIP of each family, else the first ExternalIP; at most one per family, and none that no node can have (loopback, …). */
  readonly addresses: readonly Ip[];
  /** Every address in the node's status: no Service may have one of them. */
  readonly allAddresses: readonly Ip[];
  /** Addresses of its Pods; none where the cluster does not allocate them by node. */
  readonly podCidrs: readonly IpRange[];
  /** Another one after each start of its kernel; `undefined`: its kubelet has not reported it. */
  readonly bootId: string | undefined;
  /**
   * Set if the node must not get new connections: deleted, excluded by label
   * `node.kubernetes.io/exclude-from-external-load-balancers` (value `"false"` does not exclude), or tainted
   * `ToBeDeletedByClusterAutoscaler`. Readiness does not matter (KEP-3458).
   */
  readonly excluded: 'deleted' | 'label' | 'taint' | undefined;
  /** Its condition Ready is True. Counts only among Nodes with the same address. */
  readonly isReady: boolean;
};
