import type { Ip } from '../core/ip/ip.ts';
import type { HostFacts } from '../core/model/host.ts';
import type { PersistentMap } from '../core/persistent-map.ts';
import type { Listener, Row, TrafficTable } from '../core/traffic/table.ts';

/** Addresses by their text. */
export type Addresses = PersistentMap<string, Ip>;

/** The kernel's part before a socket: sends the listeners' packets to the proxy, refuses the rest on our addresses. */
export type Classifier = {
  /**
   * Makes the kernel classify exactly as `table` says, in one atomic transaction that touches only what differs;
   * resolves when the kernel has acknowledged it. `added`: the addresses that are ours, where all else is refused.
   * `portOf` gives the same port for the same row.
   */
  apply(table: TrafficTable, added: Addresses, portOf: (row: Row) => number, signal: AbortSignal): Promise<void>;
  /** Reads back what the kernel holds and repairs it; the number of repairs. */
  audit(signal: AbortSignal): Promise<number>;
  /** Until `signal` aborts: notices when somebody flushes or removes our table and puts it back at once. */
  run(signal: AbortSignal): Promise<void>;
  /** Takes table, routing rules and routes away. No error when there are none. */
  remove(signal: AbortSignal): Promise<void>;
};

/** Puts addresses on this host and makes the neighbours know. */
export type Announcer = {
  /** Which of `wanted` the host has only because of us, or would have: all that are not its own. */
  added(wanted: Addresses, signal: AbortSignal): Promise<Addresses>;
  /** Which of `wanted` are there by our doing, or were before the host was restarted. */
  recorded(wanted: Addresses, signal: AbortSignal): Promise<Addresses>;
  /** Records what `ensure` will add, while others make ready what shall be behind the addresses. */
  prepare(wanted: Addresses, signal: AbortSignal): Promise<void>;
  /** Adds what is missing, as far as the kernel takes it (see `refused`), recorded before it is; announces it (gratuitous ARP, unsolicited neighbour advertisement). */
  ensure(wanted: Addresses, signal: AbortSignal): Promise<void>;
  /** Removes the addresses that we added and that are not in `wanted`; never another one. */
  release(wanted: Addresses, signal: AbortSignal): Promise<void>;
  /**
   * Puts back what somebody took away, tries again what the kernel did not take, and leaves to the host what it has come
   * to have itself (see `added`); the number of repairs.
   */
  audit(signal: AbortSignal): Promise<number>;
  /** What the kernel does not take, by the address's text, with its words: IPv6 where it is switched off, for one. */
  refused(): ReadonlyMap<string, string>;
};

export type Host = {
  facts(signal: AbortSignal): Promise<HostFacts>;
  /** Resets the established connections of these listeners (`ss -K`). */
  endConnections(listeners: readonly Listener[], signal: AbortSignal): Promise<void>;
};
