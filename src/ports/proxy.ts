import type { NodeName, ListenerKey } from '../core/model/names.ts';
import type { Family } from '../core/ip/ip.ts';
import type { Row, TrafficTable } from '../core/traffic/table.ts';

/** How a node's server does: `up` gets connections; `drain` none new; `unhealthy` answered so; `silent` gave no answer. */
export type ServerState = 'up' | 'drain' | 'unhealthy' | 'silent';

export type ProxyObservation = {
  readonly pid: number;
  readonly version: string;
  /** Connections now, and the most that the process can hold. */
  readonly connections: number;
  readonly maxConnections: number;
  readonly servers: readonly {
    readonly node: NodeName;
    readonly family: Family;
    readonly state: ServerState;
    readonly connections: number;
    readonly total: number;
  }[];
  readonly listeners: readonly {
    readonly key: ListenerKey;
    readonly connections: number;
    readonly total: number;
    readonly bytesIn: number;
    readonly bytesOut: number;
  }[];
  /** True while the agent's own probe stands in for kube-proxy's health port, per family. */
  readonly usesOwnProbe: { readonly 4: boolean; readonly 6: boolean };
};

/**
 * The user-space load balancer (HAProxy): a fixed program and a table.
 *
 * A change is two steps with the classifier between them: `upsert` makes every row and server of the table ready, then
 * the classifier sends packets to it (and no longer to what went), then `prune` takes away what the table no longer has.
 * Both are idempotent and diff against what the process really holds after a start or an adoption.
 */
export type Proxy = {
  /** Port on the loopback address where the row's packets must be sent (`tproxy`); the same for the same row. */
  portOf(row: Row): number;
  /**
   * Adopts the process of this state directory if one runs, else writes the configuration for `table` and starts one,
   * detached: it outlives us. Throws, and leaves the last good configuration in force, when the new one is refused.
   */
  ensure(table: TrafficTable, signal: AbortSignal): Promise<'adopted' | 'started'>;
  upsert(table: TrafficTable, signal: AbortSignal): Promise<void>;
  prune(table: TrafficTable, signal: AbortSignal): Promise<void>;
  /** Compares what the process holds with `table` and repairs it; the number of repairs. */
  audit(table: TrafficTable, signal: AbortSignal): Promise<number>;
  /**
   * Until `signal` aborts: starts the process again when it dies (within a second, with all of the last table), reads
   * the verdicts of the health checks, ends the connections of silent nodes, stands in with its own probe where no
   * node answers the check.
   */
  run(signal: AbortSignal): Promise<void>;
  observe(signal: AbortSignal): Promise<ProxyObservation>;
  /** Whether a process serves, as far as is known: from `ensure` on, and while `run` watches over it. */
  isUp(): boolean;
  /** Ends the process; its connections end too. No error when none runs. */
  stop(signal: AbortSignal): Promise<void>;
};
