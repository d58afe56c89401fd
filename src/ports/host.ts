import type { Ip } from '../core/ip/ip.ts';
import type { ListeningSocket } from '../core/model/host.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { PersistentMap } from '../core/persistent-map.ts';
import type { Listener, ListenerAddress, TrafficTable } from '../core/traffic/table.ts';

/** Addresses by their text. */
export type Addresses = PersistentMap<string, Ip>;

/** The refused part of a change, with the tool's message on one line. The rest of the change is in force. */
export type Refusals<Key> = ReadonlyMap<Key, string>;

/**
 * The kernel's task before a socket: steer packets of listeners to the proxy, reject everything else on added
 * addresses.
 */
export type SteeringTarget = {
  readonly listeners: TrafficTable['listeners'];
  /** Addresses that furiwake added: packets for anything but a listener are rejected there. */
  readonly vips: Addresses;
  /** The host's own addresses; the same object as long as they are the same. */
  readonly own: ReadonlyMap<string, Ip>;
  /** Loopback port of the proxy for a listener; the same for the same listener. */
  readonly portOf: (listener: Listener) => number;
};

/** nftables in front of the proxy. */
export type Steering = {
  /**
   * Makes the kernel steer exactly as `target` says, atomically, and changes only the differences. A listener that nft
   * refuses is isolated: its elements stay as they were (none, or the last accepted ones), and all others are in force
   * when this resolves. Throws `ExecError` if nft accepts no change at all; then everything stays as it was.
   */
  apply(target: SteeringTarget, signal: AbortSignal): Promise<Refusals<ListenerKey>>;
  /** Reads back the kernel's state and repairs it; returns the number of repairs. */
  audit(signal: AbortSignal): Promise<number>;
  /** Until `signal` aborts: watches for external changes to the table or the routing rule and reverts them at once. */
  run(signal: AbortSignal): Promise<void>;
  /** Removes table, routing rules and routes. No error when there are none. */
  remove(signal: AbortSignal): Promise<void>;
};

/** The addresses of the host, as last read or reported by the kernel. Parts that did not change keep their identity. */
export type HostAddresses = {
  /** Addresses that the host has without furiwake, by text; without loopback and link-local ones. */
  readonly own: ReadonlyMap<string, Ip>;
  /** The host's own address on the interface of the default route, at most one per family. */
  readonly primary: readonly Ip[];
  /** Addresses that this host needs to work (gateways, DNS servers …), by text, with the role of each. */
  readonly needs: ReadonlyMap<string, string>;
  /** Addresses that `add` or `audit` wanted and the kernel refused. */
  readonly refused: Refusals<string>;
};

export type PlacementAudit = {
  /** Missing addresses that were restored, and those that were on the wrong interface for their neighbours. */
  readonly restored: readonly Ip[];
  /** These, and those on a link that came up or changed its MAC since the last audit: advertise them again. */
  readonly toAdvertise: readonly Ip[];
};

/** Adds addresses to this host; removes only addresses that it added. */
export type Placement = {
  /**
   * Adds those of `wanted` that the host lacks and records them before; does not advertise. One that the kernel refuses
   * is isolated (`addresses().refused`). Resolves with the addresses that are new on the host. Throws when the record
   * cannot be written or `ip` cannot be run.
   */
  add(wanted: Addresses, signal: AbortSignal): Promise<readonly Ip[]>;
  /** Removes the addresses that placement added and that are not in `wanted`. */
  remove(wanted: Addresses, signal: AbortSignal): Promise<void>;
  /**
   * Reads everything back: restores missing addresses of `wanted`, and no longer manages addresses that another program
   * has configured on the host.
   */
  audit(wanted: Addresses, signal: AbortSignal): Promise<PlacementAudit>;
  /**
   * Until when the kernel keeps the addresses that furiwake added, and those that it adds from now on: then it removes them
   * itself, even if furiwake is dead. Monotonic ms, exact to two seconds; `undefined`: without end, as at the start. Throws
   * `ExecError` if `ip` cannot be run.
   */
  keepUntil(untilMs: number | undefined, signal: AbortSignal): Promise<void>;
  /** From memory; up to date while `run` runs. */
  addresses(): HostAddresses;
  /** Reads the host's addresses now. */
  refresh(signal: AbortSignal): Promise<HostAddresses>;
  /**
   * Until `signal` aborts: watches interfaces, addresses and default routes. Calls `onChange` when a program other than
   * furiwake may have changed something that concerns placement; the caller then runs `audit`.
   */
  run(onChange: () => void, signal: AbortSignal): Promise<void>;
  /** The interface on which neighbours resolve an address. */
  linkOf(address: Ip): { readonly name: string; readonly index: number; readonly mac: string } | undefined;
};

/** Attracts the traffic of addresses to this host. */
export type Advertiser = {
  /**
   * Makes the neighbours send packets for exactly these addresses here: announces new ones at once and again some
   * seconds later.
   */
  advertise(addresses: Addresses): void;
  /** Announces these again if they are advertised: they were restored or moved, or their link came up. */
  again(addresses: readonly Ip[]): void;
  /** Those that another machine on the LAN has as well: text → its MAC. The same object as long as nothing changed. */
  duplicates(): ReadonlyMap<string, string>;
  /** Calls `listener` after each change of `duplicates`; returns a function that ends the subscription. */
  onDuplicates(listener: () => void): () => void;
  /** Until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

export type Host = {
  /** The sockets that other programs may reach: of TCP in state LISTEN, of UDP without a peer. */
  listening(signal: AbortSignal): Promise<readonly ListeningSocket[]>;
  /** Resets the established TCP connections of these listeners (`ss -K`). */
  endConnections(listeners: readonly ListenerAddress[], signal: AbortSignal): Promise<void>;
};
