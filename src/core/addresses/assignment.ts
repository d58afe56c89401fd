import type { Ip } from '../ip/ip.ts';
import type { ListenerKey, ServiceKey, ServiceUid } from '../model/names.ts';
import type { ServicePort } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';

/** What the ledger remembers of a Service that is ours: it keeps these addresses and listeners. */
export type AddressRecord = {
  readonly uid: ServiceUid;
  readonly service: ServiceKey;
  /** Empty while the Service has no address. */
  readonly addresses: readonly Ip[];
  /** Those of `addresses` that are the host's own, and that the pool does not hold otherwise; absent: none. */
  readonly hostAddresses?: readonly string[];
  readonly listeners: readonly ListenerKey[];
};

/** A port of a Service that is not served, and why. */
export type PortRefusal = Verdict & { readonly port: ServicePort };

/** An address of a Service. `unserved`: ports that another Service has there, that the host needs, or that are not recorded. */
export type AssignedAddress = {
  readonly ip: Ip;
  /** It is the host's own: furiwake never adds it to the host nor announces it, also when the host has lost it. */
  readonly isHostAddress: boolean;
  readonly served: readonly ServicePort[];
  readonly unserved: readonly PortRefusal[];
};

/** The addresses of one Service, and for each of its ports whether and where it is served. */
export type Assignment = {
  /** At most one per family, in the order of `spec.ipFamilies`; empty when it has none. */
  readonly addresses: readonly AssignedAddress[];
  /** `Assigned`, or why the Service has no address, or why it keeps one although it requests another. */
  readonly verdict: Verdict;
  /** Ports that cannot be served on any address. */
  readonly refused: readonly PortRefusal[];
  /** Addresses in the status that are not recorded and that the pool does not hold; ignored. */
  readonly disowned: readonly string[];
  /**
   * furiwake published the addresses in the status, and they are neither in the pool nor recorded: it now runs with other
   * flags or another state directory. The status stays, and the Service gets no address, until the administrator decides.
   */
  readonly keepsStatus: boolean;
  /** It waits for a port that a program on the host uses, or that is reserved there. No event reports when it is free. */
  readonly waitsForHost: boolean;
};
