import type { Ip } from '../ip/ip.ts';

/** A TCP socket of the host in state LISTEN; `address` is `undefined` for a wildcard bind. */
export type ListeningSocket = { readonly address: Ip | undefined; readonly family: 4 | 6; readonly port: number };

/** What the planner must know of the load-balancer host. */
export type HostFacts = {
  /** Addresses that the host has without us (its own), link-local and loopback left out. */
  readonly ownAddresses: readonly Ip[];
  readonly listening: readonly ListeningSocket[];
};
