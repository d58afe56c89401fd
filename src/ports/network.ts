import type { Ip } from '../core/ip/ip.ts';
import type { IpRange } from '../core/ip/range.ts';
import type { Refusals } from './host.ts';

/** The addresses of the host, as last read or reported by the kernel. Parts that did not change keep their identity. */
export type HostAddresses = {
  /** Addresses that the host has without furiwake, by text; without loopback and link-local ones. */
  readonly own: ReadonlyMap<string, Ip>;
  /** The host's own address on the interface of the default route, at most one per family. */
  readonly primary: readonly Ip[];
  /** Addresses that this host needs to work (gateways, DNS servers …), by text, with the role of each. */
  readonly needs: ReadonlyMap<string, string>;
  /** Networks to which the host has a route other than a default route; sorted and merged. Read with each audit. */
  readonly routed: readonly IpRange[];
  /** Addresses that placement wanted to add and the kernel refused. */
  readonly refused: Refusals<string>;
};

/** Reads the addresses of this host. */
export type HostNetwork = {
  /** From memory; up to date while `watch` runs and `Placement.audit` follows each call of its `onChange`. */
  addresses(): HostAddresses;
  /** Whether the interface on which neighbours resolve an address has a carrier, from memory; `undefined`: the address is on no LAN. */
  hasCarrier(address: Ip): boolean | undefined;
  /** Reads them now. Throws `ExecError` if `ip` fails. */
  refresh(signal: AbortSignal): Promise<HostAddresses>;
  /**
   * Until `signal` aborts: watches interfaces, addresses and default routes. Calls `onChange` when a program other than
   * furiwake may have changed something that concerns placement.
   */
  watch(onChange: () => void, signal: AbortSignal): Promise<void>;
};

/** An Ethernet interface, with the kernel's number for it; `mac` as `02:00:…`, `mtu` in bytes. */
export type Link = { readonly name: string; readonly index: number; readonly mac: string; readonly mtu: number };

/** Where neighbours find the addresses of this host. */
export type Links = {
  /** The interface on which neighbours resolve an address; `undefined`: it is on no LAN, a router sends its packets here. */
  linkOf(address: Ip): Link | undefined;
  /**
   * Calls `listener` after an audit with the added addresses of which neighbours may have a stale entry or none: they were
   * restored or moved, or their link came up or changed its MAC. Returns a function that ends the subscription.
   */
  onStaleNeighbours(listener: (addresses: readonly Ip[]) => void): () => void;
};
