import type { Family } from '../core/ip/ip.ts';
import type { ListenerKey, NodeName } from '../core/model/names.ts';
import type { Listener, TrafficTable } from '../core/traffic/table.ts';
import type { Refusals } from './host.ts';

/** How a node's server does. `silent`: no answer; `unhealthy`: answers that it wants no traffic. */
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
    /** Wall clock, ms, of the last change of `state`; `undefined` where it has not changed since the start. */
    readonly sinceMs: number | undefined;
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
  /** True while furiwake's own probe stands in for kube-proxy's health port, per family. */
  readonly usesOwnProbe: { readonly 4: boolean; readonly 6: boolean };
};

/**
 * The user-space load balancer (HAProxy): a fixed program and a table.
 *
 * A change is two steps with the steering between them: `upsert` makes every listener and server of the table ready, then
 * the kernel sends packets to it (and no longer to what is gone), then `prune` removes what the table no longer has. Both
 * are idempotent and compare with what the process really holds.
 */
export type Proxy = {
  /** Port on the loopback addresses to which the listener's packets must be sent; the same for the same listener. */
  portOf(listener: Listener): number;
  /**
   * Makes all of `table` ready. The first call takes over the process that has the port, if it is ours, or starts one.
   * Resolves with the listeners that HAProxy refuses, and its words; a node that it refuses is left out and logged. Throws
   * when HAProxy cannot be started or does not answer: then what it served before is still in force where it lives. Never
   * waits for a failing process longer than one attempt: the caller paces.
   */
  upsert(table: TrafficTable, signal: AbortSignal): Promise<Refusals<ListenerKey>>;
  prune(table: TrafficTable, signal: AbortSignal): Promise<void>;
  /** Compares what the process holds with `table` and repairs it; the number of repairs. */
  audit(table: TrafficTable, signal: AbortSignal): Promise<number>;
  /**
   * Until `signal` aborts: starts the process again when it dies (at once, then with growing waits), reads the health
   * checks, follows the verdicts of the health module.
   */
  run(signal: AbortSignal): Promise<void>;
  observe(signal: AbortSignal): Promise<ProxyObservation>;
  /** Why HAProxy does not serve, on one line, once that is known; `undefined` while it serves. */
  trouble(): string | undefined;
  /** Ends the process; its connections end too. No error when none runs. */
  stop(signal: AbortSignal): Promise<void>;
};
