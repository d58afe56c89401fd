import type { Family } from '../core/ip/ip.ts';
import type { ListenerKey, NodeName, ServiceKey } from '../core/model/names.ts';
import type { NodeHealth } from '../core/traffic/report.ts';
import type { Listener, TrafficTable } from '../core/traffic/table.ts';
import type { Refusals } from './host.ts';

/** The state of a node's server. `silent`: no answer; `unhealthy`: it answers that it wants no traffic. */
export type ServerState = 'up' | 'drain' | 'unhealthy' | 'silent';

export type ProxyObservation = {
  readonly pid: number;
  readonly version: string;
  /** Current connections of the worker that serves, and its limit. */
  readonly connections: number;
  readonly maxConnections: number;
  /** Workers that a reload has replaced and that still have connections. */
  readonly oldWorkers: number;
  /** Theirs. */
  readonly oldConnections: number;
  /** Since the worker started, and with it its counters. */
  readonly upSeconds: number;
  readonly servers: readonly {
    readonly node: NodeName;
    readonly family: Family;
    readonly address: string;
    readonly state: ServerState;
    /** Monotonic ms, of the last change of `state`; `undefined` if it has not changed since the start. */
    readonly sinceMs: number | undefined;
    /** The same of its health, which a drain does not hide. */
    readonly health: NodeHealth;
    readonly healthSinceMs: number | undefined;
    /** Also those of old workers; the total is not. */
    readonly connections: number;
    readonly total: number;
  }[];
};

/** The traffic of a listener. Totals count since the worker started; a reload is a new worker. */
export type ListenerCounters = {
  /** At this moment, also of workers that a reload has replaced. */
  readonly connections: number;
  readonly total: number;
  /** From and to the clients; a connection adds to them every five seconds and at its end. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Connections beyond a limit; `total` counts them as well. */
  readonly refused: number;
};

/** The traffic of a server of a Service that asks for it (`furiwake.dev/server-metrics`), of all its ports. */
export type ServerCounters = {
  readonly service: ServiceKey;
  /** The name of a node, or the address of a Pod. */
  readonly server: string;
  /** At this moment. */
  readonly connections: number;
  /** Since HAProxy has the server. */
  readonly total: number;
  /** Attempts to connect to it that failed, and connections that it broke off. */
  readonly errors: number;
};

export type MeasuredServers = {
  readonly servers: readonly ServerCounters[];
  /** How many connections to each Service wait for a server. */
  readonly queued: ReadonlyMap<ServiceKey, number>;
  /** The number of backends beyond the most that are read. */
  readonly omitted: number;
};

/** A connection that has ended; of a Service in HTTP mode, a request. */
export type EndedConnection = {
  /** When HAProxy accepted it, ms since the epoch. */
  readonly atMs: number;
  readonly client: SocketAddress;
  readonly listener: ListenerKey;
  /** A node, or a Pod; `undefined`: HAProxy chose none. */
  readonly server: SocketAddress | undefined;
  /**
   * How long it waited for a free server and for attempts to connect that failed, and then for the connection. `undefined`: it ended
   * before.
   */
  readonly queueMs: number | undefined;
  readonly connectMs: number | undefined;
  readonly totalMs: number;
  /** From and to the client. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Further attempts to connect to a server. */
  readonly retries: number;
  /** How it ended: the two characters of HAProxy, and in words. */
  readonly end: string;
  readonly words: string;
};

export type SocketAddress = { readonly address: string; readonly port: number };

/** Listeners that HAProxy does not serve as wanted. */
export type Unprepared = {
  /** With its message. */
  readonly refused: Refusals<ListenerKey>;
  /**
   * Their profile waits for a reload; the words say until when. HAProxy would serve them now with another one: that of before, or the
   * usual one that is most like theirs.
   */
  readonly deferred: ReadonlyMap<ListenerKey, string>;
};

/** HAProxy takes no connections: it answers neither commands nor requests. It may still have connections. */
export class ProxyDownError extends Error {
  override readonly name: string = 'ProxyDownError';
  readonly code: string = 'PROXY_DOWN';
}

/**
 * HAProxy does not run and cannot be started now. It serves nothing and has no connections; once it can be started, it gets the
 * last table that it was asked for.
 */
export class ProxyAbsentError extends ProxyDownError {
  override readonly name = 'ProxyAbsentError';
  override readonly code = 'PROXY_ABSENT';
}

/**
 * The user-space load balancer (HAProxy): a fixed program and a table.
 *
 * A change has two steps with the steering between them: `upsert` adds every listener and server of the table, then the
 * kernel sends packets to them (and none to removed ones), then `prune` removes the listeners and servers that the
 * table no longer has. Both are idempotent and compare with the actual state of the process.
 */
export type Proxy = {
  /** Port on the loopback addresses to which the listener's packets must be sent; the same for the same listener. */
  portOf(listener: Listener): number;
  /**
   * Prepares all of `table`. The first call takes over the process that has the port, if it belongs to furiwake, or
   * starts one. Resolves with the listeners that it has not prepared; a node that HAProxy refuses is skipped
   * and logged. Throws {@link ProxyAbsentError} if HAProxy does not run and cannot be started,
   * {@link ProxyDownError} if it takes no connections, and another error if only its command socket does not answer: it may then
   * still serve the former listeners. Waits for a failing process no longer than one
   * attempt: the caller paces retries.
   */
  upsert(table: TrafficTable, signal: AbortSignal): Promise<Unprepared>;
  /**
   * Removes all that `table` does not have. What is missing, because the process has died since `upsert`, is added again. Resolves
   * as well if HAProxy does not run and cannot be started: it serves nothing.
   */
  prune(table: TrafficTable, signal: AbortSignal): Promise<void>;
  /** Compares the state of the process with `table` and repairs it; returns the number of repairs. */
  audit(table: TrafficTable, signal: AbortSignal): Promise<number>;
  /**
   * Less than an audit, for the time between two of them: it costs the same with any number of listeners. Is an audit if the process is
   * another one, answers differently, lacks a file, or has another number of listeners or other servers for the nodes.
   */
  check(table: TrafficTable, signal: AbortSignal): Promise<number>;
  /**
   * Until `signal` aborts: restarts a dead process (at once, then with growing waits), reads the health checks, follows
   * the verdicts of the health module.
   */
  run(signal: AbortSignal): Promise<void>;
  observe(signal: AbortSignal): Promise<ProxyObservation>;
  /**
   * The counters of these listeners; of all that it serves without `keys`. Skips listeners that it does not serve. One
   * listener costs HAProxy 5 µs, all of 10,000 cost it 10 ms, in steps of 16 kB.
   */
  counters(signal: AbortSignal, keys?: readonly ListenerKey[]): Promise<ReadonlyMap<ListenerKey, ListenerCounters>>;
  /** The counters of servers, where a Service asks for them: of at most 500 ports and families. */
  serverCounters(signal: AbortSignal): Promise<MeasuredServers>;
  /**
   * The last connections that ended, at most `most`, the latest last: of these listeners, or of all. HAProxy remembers some six thousand,
   * and none from before its start or a reload.
   */
  connections(
    asked: { readonly keys: ReadonlySet<ListenerKey> | undefined; readonly most: number },
    signal: AbortSignal,
  ): Promise<readonly EndedConnection[]>;
  /**
   * The listeners without a server that takes connections, among those whose servers have checks of their own; the same object
   * while they are the same. A change is noticed within a second, and with 500 such backends within ten.
   */
  failing(): ReadonlySet<ListenerKey>;
  /** Those whose servers close a connection because of the header of the PROXY protocol, and not without it. */
  refusingHeaders(): ReadonlySet<ListenerKey>;
  /** Calls `listener` after each change of `failing` and `refusingHeaders`; returns a function that ends the subscription. */
  onServers(listener: () => void): () => void;
  /** Why HAProxy does not serve, on one line, once that is known; `undefined` while it serves. */
  trouble(): string | undefined;
  /**
   * Why HAProxy takes no connections, on one line, once that has lasted for five seconds; the same words until HAProxy has
   * run for ten seconds, and after three deaths in ten minutes for longer. At once while another program takes some of them.
   * `undefined`: it does, or its command socket alone does not answer.
   */
  outage(): string | undefined;
  /** Calls `listener` after each change of `trouble` and `outage`; returns a function that ends the subscription. */
  onTrouble(listener: () => void): () => void;
  /** Ends the process and its connections, also one of another state directory. Resolves with whether one ran. */
  stop(signal: AbortSignal): Promise<boolean>;
};
