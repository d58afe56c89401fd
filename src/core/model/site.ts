import type { IpRange } from '../ip/range.ts';
import type { Annotation } from './service.ts';

/** A range of the address pool. */
export type SiteRange = IpRange & {
  /** The pool that it belongs to, by which Services can request an address of it. */
  readonly name?: string;
  /** Only for Services that request an address of it, or its pool. */
  readonly isOnRequest?: true;
};

/** The administrator's choices: the flags. */
export type Site = {
  readonly loadBalancerClass: string;
  /** Services without a class are ours, too. */
  readonly takesDefaultClass: boolean;
  /** Only Services of these namespaces are ours. `undefined`: of all. */
  readonly namespaces: ReadonlySet<string> | undefined;
  /** The pool; no address is in two ranges. Empty if the pool is the host's own addresses. */
  readonly ranges: readonly SiteRange[];
  /** Annotations of Services that do not have them. */
  readonly defaults: readonly Annotation[];
  /** The pool is the host's own (primary) addresses. Services follow to another one. */
  readonly handsOutOwn: boolean;
  /** Another host may have published addresses of its own pool: those Services move to this host's pool. */
  readonly movesServices: boolean;
  /** The zone of this host, as in the label `topology.kubernetes.io/zone` of nodes. */
  readonly zone: string | undefined;
  /** No Service may have these ports of the host's own addresses. */
  readonly reservedPorts: ReadonlySet<number>;
};
