import type { Family, Ip } from '../ip/ip.ts';
import type { IpRange } from '../ip/range.ts';
import type { BackendId, ListenerKey, NodeName, ServiceKey } from '../model/names.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { Verdict } from '../reasons.ts';
import type { Revision } from '../revision.ts';

/** A host's report on a listener that it should carry, or for which it may still have connections. */
export type ListenerReport = {
  /**
   * The Service whose connections the host may carry: set before the listener is programmed, cleared after it is removed.
   * `undefined`: the listener is wanted, and no part of it is programmed.
   */
  readonly holder: ServiceKey | undefined;
  /** The revision that is in force, so that it may be published; `undefined` if none is, or if that is not certain. */
  readonly revision: Revision | undefined;
  /**
   * The host lets packets through; of a listener with a stand-in, to nodes themselves. False on a host that is ready
   * but may not serve (another one has the Lease).
   */
  readonly isForwarding: boolean;
  /** HAProxy has servers with checks of their own for it, and none that takes connections. */
  readonly isFailing: boolean;
  /** Its servers close connections because of the header of the PROXY protocol. */
  readonly isHeaderRefused: boolean;
  /** HAProxy should carry its connections and takes none: why, on one line. */
  readonly proxyTrouble: string | undefined;
  /** The nftables table that should carry its connections may not be in force: why, on one line. */
  readonly tableTrouble: string | undefined;
  /** `direct` serves it without its stand-in: why, on one line. */
  readonly standInTrouble: string | undefined;
  /** A wanted revision that is not in force, or whose address is not on the host, and why. */
  readonly refusal: { readonly revision: Revision; readonly verdict: Verdict } | undefined;
};

/** Health of a node as the host's checks find it. */
export type NodeHealth = 'up' | 'unhealthy' | 'silent';

/**
 * Why `direct` sends no packets to a node, whatever the listener. `noTable`: nft or the kernel of the
 * host lacks what `direct` needs. `thisHost`: it cannot be its own next hop. `offLink`: the
 * address of the node is on no link of the host. `noAnswer`: the health port of its kube-proxy gives no usable answer.
 * `crossing`: this host is its gateway, and drops its answers to clients outside the LAN.
 * `unheard`: it is not shown to answer clients itself, although it was probed or kube-proxy serves a listener that waits for that.
 */
export type DirectObstacle = 'noTable' | 'thisHost' | 'offLink' | 'noAnswer' | 'crossing' | UnequalMtu | 'unheard';

/**
 * The MTU of a node, or of the link to it, is not that of the LAN of the clients (`lan`): packets are handed on as they are, so large ones
 * would be lost. In bytes; `most` is `undefined` where only `least` is known.
 */
export type UnequalMtu = { readonly least: number; readonly most: number | undefined; readonly lan: number };

/** By node and family. */
export type DirectObstacles = ReadonlyMap<NodeName, { readonly 4?: DirectObstacle; readonly 6?: DirectObstacle }>;

/** The observed state of a host; a `TrafficTable` is the desired one. Plain data. Unchanged parts keep their identity. */
export type HostReport = {
  readonly listeners: PersistentMap<ListenerKey, ListenerReport>;
  /** By node and family, of the addresses that the host checks. */
  readonly health: ReadonlyMap<NodeName, { readonly 4?: NodeHealth; readonly 6?: NodeHealth }>;
  /** Addresses that the host has without furiwake, by text; without loopback and link-local ones. */
  readonly ownAddresses: ReadonlyMap<string, Ip>;
  /** Its own address on the interface of the default route, at most one per family. */
  readonly primaryAddresses: readonly Ip[];
  /** Addresses that the host needs to work, by text, and what each is. */
  readonly needs: ReadonlyMap<string, string>;
  /** Networks to which the host has a route other than a default route; merged. */
  readonly routed: readonly IpRange[];
  /** Addresses of listeners that another machine on the LAN has as well, by text, and its MAC. */
  readonly duplicates: ReadonlyMap<string, string>;
  /** The families in which a node is in a LAN of the host; empty while that is not known. */
  readonly onLink: ReadonlySet<Family>;
  /** Known only while there is a listener of `direct`. */
  readonly directObstacles: DirectObstacles;
  /** By backend, servers with ready endpoints that kube-proxy has not confirmed for some time. */
  readonly unconfirmed: PersistentMap<BackendId, Unconfirmed>;
};

/** `areUsed`: they take connections nevertheless, because no server of the backend is confirmed. */
export type Unconfirmed = { readonly nodes: readonly NodeName[]; readonly areUsed: boolean };

export const emptyReport: HostReport = {
  listeners: PersistentMap.empty(),
  health: new Map(),
  ownAddresses: new Map(),
  primaryAddresses: [],
  needs: new Map(),
  routed: [],
  duplicates: new Map(),
  onLink: new Set(),
  directObstacles: new Map(),
  unconfirmed: PersistentMap.empty(),
};
