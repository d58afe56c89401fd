import type { ListenerKey } from '../core/model/names.ts';
import type { TrafficTable } from '../core/traffic/table.ts';
import type { Refusals } from './host.ts';
import type { HostTable } from './host-table.ts';

/** What the kernel has counted for a listener since it is served with this nodePort, or since the table was replaced. */
export type NatCounters = {
  /** Flows that were sent to a node. */
  readonly flows: number;
  /** From the clients; segments of TCP that the device merged are one packet. Bytes from the IP header on. */
  readonly packetsIn: number;
  readonly bytesIn: number;
  /** To the clients, except for those on the host itself. */
  readonly packetsOut: number;
  readonly bytesOut: number;
  /** Packets from outside the source ranges. */
  readonly refused: number;
};

/**
 * The dataplane that sends flows to node:nodePort by network address translation in the kernel. It follows the verdicts on nodes, and
 * forwards packets that arrive on a new interface. `remove` ends the flows and restores the kernel's forwarding; it throws if a part
 * fails: an empty table then stays, which drops packets of the flows.
 */
export type Nat = HostTable & {
  /**
   * The same as `apply`, but ends no flows, which may take seconds: for a table with listeners that another dataplane still has. An
   * `apply` must follow when that one has lost them. It refuses a listener of which flows of another Service are left, until an `apply`
   * has ended them.
   */
  prepare(table: TrafficTable, signal: AbortSignal): Promise<Refusals<ListenerKey>>;
  /**
   * Makes the kernel translate the flows of the table's listeners, atomically, and changes only the differences. Afterwards no
   * packet passes that belongs to a flow of a Service or nodePort that is gone. A listener that nft refuses stays as it was. One
   * whose packets cannot be forwarded is refused, and so is one that another Service gets, while that one's flows cannot be ended.
   * Throws `ExecError` if nft accepts no change at all.
   */
  apply(table: TrafficTable, signal: AbortSignal): Promise<Refusals<ListenerKey>>;
  /** The counters of these listeners; of all of this dataplane without `keys`. Throws `ExecError`. */
  counters(signal: AbortSignal, keys?: Iterable<ListenerKey>): Promise<ReadonlyMap<ListenerKey, NatCounters>>;
};
