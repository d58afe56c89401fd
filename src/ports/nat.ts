import type { ListenerKey } from '../core/model/names.ts';
import type { TrafficTable } from '../core/traffic/table.ts';
import type { Refusals } from './host.ts';

/** The dataplane that sends flows to node:nodePort by network address translation in the kernel. */
export type Nat = {
  /**
   * Makes the kernel translate the flows of the table's listeners, atomically, and changes only the differences. Afterwards no
   * flow is left at a Service or nodePort that is gone. A listener that nft refuses stays as it was. Throws `ExecError` if nft
   * accepts no change at all, or if the kernel does not let furiwake switch forwarding on.
   */
  apply(table: TrafficTable, signal: AbortSignal): Promise<Refusals<ListenerKey>>;
  /** Reads back the kernel's state and repairs it; returns the number of repairs. */
  audit(signal: AbortSignal): Promise<number>;
  /** Until `signal` aborts: follows the verdicts on nodes, and reverts external changes to the table at once. */
  run(signal: AbortSignal): Promise<void>;
  /** Removes the table, ends its flows and restores the kernel's forwarding. No error when there is none. */
  remove(signal: AbortSignal): Promise<void>;
};
