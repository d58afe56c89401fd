import type { IpRange } from '../ip/range.ts';

/** A range of the address pool. */
export type SiteRange = IpRange & {
  /** Only for Services that request an address of it. */
  readonly isOnRequest?: true;
};

/** What the administrator decided, by flags. */
export type Site = {
  readonly loadBalancerClass: string;
  /** Also take Services without a class. */
  readonly takesDefaultClass: boolean;
  /** Only Services of these namespaces; `undefined`: all. */
  readonly namespaces: ReadonlySet<string> | undefined;
  /** Addresses that may be handed out; none of them in two ranges. */
  readonly ranges: readonly SiteRange[];
  /** The ranges are this host's own addresses: one outside of them that furiwake wrote is another host's. */
  readonly handsOutOwn: boolean;
  /** Another host may have assigned addresses of its own pool: Services move to an address of this host. */
  readonly movesServices: boolean;
  /** Ports of the host's own addresses that no Service may have. */
  readonly reservedPorts: ReadonlySet<number>;
};
