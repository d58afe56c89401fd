import type { ListenerKey } from '../core/model/names.ts';
import type { TrafficTable } from '../core/traffic/table.ts';
import type { Refusals } from './host.ts';
import type { TableOutage } from './table-outage.ts';

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

/** The dataplane that sends flows to node:nodePort by network address translation in the kernel. */
export type Nat = {
  readonly outage: TableOutage;
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
  /** Reads back the kernel's state and repairs it; returns the number of repairs. */
  audit(signal: AbortSignal): Promise<number>;
  /**
   * Less than an audit, for the time between two of them: its cost does not grow with the number of listeners. It reads chains and rules,
   * and no elements; if those differ, it is an audit.
   */
  check(signal: AbortSignal): Promise<number>;
  /** The interfaces of the host may have changed: it must forward packets that arrive on a new one. */
  noteFacts(): void;
  /** Until `signal` aborts: follows the verdicts on nodes, ends flows, and reverts external changes to the table at once. */
  run(signal: AbortSignal): Promise<void>;
  /**
   * Ends the flows, restores the kernel's forwarding and removes the table. Resolves with whether there was one. Throws if a
   * part fails: an empty table then stays, which drops packets of the flows.
   */
  remove(signal: AbortSignal): Promise<boolean>;
};
