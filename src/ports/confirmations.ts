import type { HostReport } from '../core/traffic/report.ts';
import type { TrafficTable } from '../core/traffic/table.ts';

/**
 * Decides which servers of a backend take new connections: a node of a Service with `externalTrafficPolicy: Local` drops them
 * until its kube-proxy has synced.
 */
export type Confirmations = {
  /**
   * The table in which all servers drain that must not get new connections. Servers of the first table got some before this
   * process started. Unchanged parts keep their identity.
   */
  admit(table: TrafficTable): TrafficTable;
  /** The servers that have waited for ten seconds. Unchanged parts keep their identity. */
  unconfirmed(): HostReport['unconfirmed'];
  /** Calls `listener` after each change of the result of `admit` or of `unconfirmed`; returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
  /** Asks nodes while servers wait for them, until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};
