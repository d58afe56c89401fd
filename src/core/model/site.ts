import type { IpRange } from '../ip/range.ts';

/** What the administrator decided, by flags. */
export type Site = {
  readonly loadBalancerClass: string;
  /** Also take Services without a class. */
  readonly takesDefaultClass: boolean;
  /** Only Services of these namespaces; `undefined`: all. */
  readonly namespaces: ReadonlySet<string> | undefined;
  /** Addresses that may be handed out, merged. */
  readonly ranges: readonly IpRange[];
  /** Ports of the host's own addresses that no Service may have. */
  readonly reservedPorts: ReadonlySet<number>;
};
