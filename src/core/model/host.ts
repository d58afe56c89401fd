import type { Ip } from '../ip/ip.ts';

/** A socket of the host that takes connections (TCP) or datagrams of any peer (UDP). */
export type ListeningSocket = {
  readonly protocol: 'TCP' | 'UDP';
  /** `undefined` for a wildcard bind. */
  readonly address: Ip | undefined;
  readonly family: 4 | 6;
  readonly port: number;
};

/** What the planner needs to know about the load-balancer host. */
export type HostFacts = {
  /** Addresses that the host has without furiwake, without link-local and loopback ones. */
  readonly ownAddresses: readonly Ip[];
  /** Its own address on the interface of the default route, at most one per family. */
  readonly primaryAddresses: readonly Ip[];
  readonly listening: readonly ListeningSocket[];
  /** Why `listening` is only what was last known: a new port may have a program by now. `undefined`: it is up to date. */
  readonly listeningTrouble: string | undefined;
  /** Addresses that the host needs to work (gateways, DNS servers, the API server …), by text, and what each is. */
  readonly needs: ReadonlyMap<string, string>;
};
