import type { Family } from '../core/ip/ip.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { DirectObstacles } from '../core/traffic/report.ts';
import type { TrafficTable } from '../core/traffic/table.ts';
import type { Refusals } from './host.ts';
import type { HostTable } from './host-table.ts';

/** What the kernel has counted for a listener since nodes get its packets, or since the table was replaced. */
export type DirectCounters = {
  /** Packets that open a TCP connection, and UDP datagrams of a flow of which the last ten seconds had none. */
  readonly flows: number;
  /** Of the clients, as received: segments of TCP that the device merged are one packet. Without fragments but the first. */
  readonly packets: number;
  readonly bytes: number;
  /** Packets from outside the source ranges. */
  readonly refused: number;
};

/**
 * The dataplane that hands packets, unchanged, to nodes as the next hop (architecture, section 5). It follows the verdicts on nodes and
 * the gate, the Service CIDRs, and the links of the host: one that is new, renamed or made again gets its chain.
 */
export type Direct = HostTable & {
  /**
   * Makes the kernel hand over the packets of the table's listeners, atomically, and changes only the differences. A listener
   * that nft refuses stays as it was. Throws `ExecError` if nft accepts no change at all.
   */
  apply(table: TrafficTable, signal: AbortSignal): Promise<Refusals<ListenerKey>>;
  /**
   * `apply`, if the kernel has no table of an earlier process: before its stack gets packets of the listeners, it must not reset
   * connections that nodes have of them. Otherwise nothing changes.
   */
  prepare(table: TrafficTable, signal: AbortSignal): Promise<Refusals<ListenerKey>>;
  /** Whether packets of the listener are sent to a node: none may be known to serve it yet, or none may be on a link. */
  isForwarding(listener: ListenerKey): boolean;
  /** The nodes that get no packets of any listener, and why; without those that are silent. The same object while it is equal. */
  obstacles(): DirectObstacles;
  /** The families in which a node is on a link of the host. The same object while it is equal; empty before the first `apply`. */
  onLink(): ReadonlySet<Family>;
  /**
   * Calls `listener` when `isForwarding` answers differently for some listeners, with their keys, or when `onLink` or `obstacles` may;
   * returns the end of the subscription.
   */
  onForwarding(listener: (changed: Iterable<ListenerKey>) => void): () => void;
  /**
   * The counters of these listeners; of all of this dataplane without `keys`. The nodes answer the clients themselves, so that
   * only what the clients send is known. Throws `ExecError`.
   */
  counters(signal: AbortSignal, keys?: Iterable<ListenerKey>): Promise<ReadonlyMap<ListenerKey, DirectCounters>>;
};
