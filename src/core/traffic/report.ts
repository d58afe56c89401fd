import type { Ip } from '../ip/ip.ts';
import type { ListenerKey, NodeName, ServiceKey } from '../model/names.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { Verdict } from '../reasons.ts';
import type { Revision } from '../revision.ts';

/** What a host says of one listener that is wanted there, or that it may still carry connections for. */
export type ListenerReport = {
  /**
   * The Service whose connections the host may carry: from before the listener is programmed until after it is gone.
   * `undefined`: wanted, and nothing of it is programmed.
   */
  readonly holder: ServiceKey | undefined;
  /** The revision that is in force, ready to be published; `undefined`: none, or not known for certain. */
  readonly revision: Revision | undefined;
  /** Packets are let through. A host that is ready and must not serve yet (it has not the Lease) says false. */
  readonly isForwarding: boolean;
  /** Why a wanted revision is not in force. */
  readonly refusal: { readonly revision: Revision; readonly verdict: Verdict } | undefined;
};

/** How a node does, as the host finds it; a family without an address of the node is left out. */
export type NodeHealth = 'up' | 'unhealthy' | 'silent';

/** What a host says of itself: the other half of a `TrafficTable`. Plain data; unchanged parts keep their identity. */
export type HostReport = {
  readonly listeners: PersistentMap<ListenerKey, ListenerReport>;
  /** By node; of those that the host checks. */
  readonly health: ReadonlyMap<NodeName, { readonly 4?: NodeHealth; readonly 6?: NodeHealth }>;
  /** Addresses that the host has without furiwake, by text; without loopback and link-local ones. */
  readonly ownAddresses: ReadonlyMap<string, Ip>;
  /** Its own address on the interface of the default route, at most one per family. */
  readonly primaryAddresses: readonly Ip[];
  /** Addresses that the host needs to work, by text, and what each is. */
  readonly needs: ReadonlyMap<string, string>;
};

export const emptyReport: HostReport = {
  listeners: PersistentMap.empty(),
  health: new Map(),
  ownAddresses: new Map(),
  primaryAddresses: [],
  needs: new Map(),
};
