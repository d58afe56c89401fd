import type { Ip } from '../core/ip/ip.ts';
import type { ListeningSocket } from '../core/model/host.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { PersistentMap } from '../core/persistent-map.ts';
import type { Listener, ListenerAddress, TrafficTable } from '../core/traffic/table.ts';

/** Addresses by their text. */
export type Addresses = PersistentMap<string, Ip>;

/** What a tool refused, with its words on one line. The rest of the change is in force. */
export type Refusals<Key> = ReadonlyMap<Key, string>;

/** What the kernel must do before a socket: steer packets of listeners to the proxy, refuse everything else on our addresses. */
export type SteeringTarget = {
  readonly listeners: TrafficTable['listeners'];
  /** Addresses that the host has because of furiwake: packets for anything but a listener are refused there. */
  readonly vips: Addresses;
  /** The host's own addresses; the same object as long as they are the same. */
  readonly own: ReadonlyMap<string, Ip>;
  /** Loopback port of the proxy for a listener; the same for the same listener. */
  readonly portOf: (listener: Listener) => number;
};

/** nftables in front of the proxy. */
export type Steering = {
  /**
   * Makes the kernel steer exactly as `target` says, atomically, touching only what differs. A listener that nft refuses
   * is isolated: its elements stay as they were (none, or the last accepted ones), all others are in force when this
   * resolves. Throws `ExecError` when nft takes nothing at all; then everything stays as it was.
   */
  apply(target: SteeringTarget, signal: AbortSignal): Promise<Refusals<ListenerKey>>;
  /** Reads back what the kernel holds and repairs it; the number of repairs. */
  audit(signal: AbortSignal): Promise<number>;
  /** Until `signal` aborts: watches for external changes to the table or the routing rule and reverts them at once. */
  run(signal: AbortSignal): Promise<void>;
  /** Removes table, routing rules and routes. No error when there are none. */
  remove(signal: AbortSignal): Promise<void>;
};

/** What the host has, as last read or as the kernel told since. Parts that did not change keep their identity. */
export type HostAddresses = {
  /** Addresses without furiwake, by text; without loopback and link-local ones. */
  readonly own: ReadonlyMap<string, Ip>;
  /** The host's own address on the interface of the default route, at most one per family. */
  readonly primary: readonly Ip[];
  /** Addresses that this host needs to work (gateways, DNS servers …), by text, and what each is. */
  readonly needs: ReadonlyMap<string, string>;
  /** Addresses that `add` or `audit` wanted and the kernel refused. */
  readonly refused: Refusals<string>;
};

export type PlacementAudit = {
  /** Addresses that were missing and are back, or that were on another interface than the one where neighbours look. */
  readonly restored: readonly Ip[];
  /** Those, and those on a link that came up or has another MAC since the last audit: advertise them again. */
  readonly toTell: readonly Ip[];
};

/** Puts addresses on this host; takes off only what it put there. */
export type Placement = {
  /**
   * Adds those of `wanted` that the host lacks, recorded before they are added, and advertises nothing. One that the
   * kernel refuses is isolated (`addresses().refused`). Resolves with the addresses that are new on the host. Throws when
   * the record cannot be written or `ip` cannot be run.
   */
  add(wanted: Addresses, signal: AbortSignal): Promise<readonly Ip[]>;
  /** Removes the addresses that placement added and that are not in `wanted`. */
  remove(wanted: Addresses, signal: AbortSignal): Promise<void>;
  /** Reads everything back: puts back what is missing of `wanted`, leaves to the host what it now has itself. */
  audit(wanted: Addresses, signal: AbortSignal): Promise<PlacementAudit>;
  /** Known without asking; fresh while `run` runs. */
  addresses(): HostAddresses;
  /** Reads the host's addresses now. */
  refresh(signal: AbortSignal): Promise<HostAddresses>;
  /**
   * Until `signal` aborts: watches interfaces, addresses and default routes. `onChange` is called when something of them
   * that concerns placement may have changed, by another program than furiwake: the caller then runs `audit`.
   */
  run(onChange: () => void, signal: AbortSignal): Promise<void>;
  /** On which interface the neighbours look for an address. */
  linkOf(address: Ip): { readonly index: number; readonly mac: string } | undefined;
};

/** Attracts addresses that are on this host. */
export type Advertiser = {
  /** Makes the neighbours send packets for exactly these addresses here: new ones are told at once and again after some seconds. */
  advertise(addresses: Addresses): void;
  /** Tells these anew, as far as they are advertised: they came back or moved, or their link came up. */
  again(addresses: readonly Ip[]): void;
  /** Until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

export type Host = {
  /** TCP sockets in state LISTEN. */
  listening(signal: AbortSignal): Promise<readonly ListeningSocket[]>;
  /** Resets the established connections of these listeners (`ss -K`). */
  endConnections(listeners: readonly ListenerAddress[], signal: AbortSignal): Promise<void>;
};
