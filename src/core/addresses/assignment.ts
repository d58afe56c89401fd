import type { Ip } from '../ip/ip.ts';
import type { ListenerKey, ServiceKey, ServiceUid } from '../model/names.ts';
import type { ServicePort } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';

/** What is remembered of a Service that is ours: it keeps its addresses, and the listeners it was first to have. */
export type AddressRecord = {
  readonly uid: ServiceUid;
  readonly service: ServiceKey;
  /** None yet, perhaps. */
  readonly addresses: readonly Ip[];
  readonly listeners: readonly ListenerKey[];
};

/** A port of a Service that is not served, and why. */
export type PortRefusal = Verdict & { readonly port: ServicePort };

/** An address of a Service: the ports that are served on it, and those that another Service has there or the host needs. */
export type AssignedAddress = {
  readonly ip: Ip;
  readonly served: readonly ServicePort[];
  readonly taken: readonly PortRefusal[];
};

/** The addresses of one Service, and what becomes of each of its ports. */
export type Assignment = {
  /** At most one per family, in the order of `spec.ipFamilies`; empty when it has none. */
  readonly addresses: readonly AssignedAddress[];
  /** `Assigned`, or why it has no address, or why it keeps one that it no longer asks for. */
  readonly verdict: Verdict;
  /** Ports that can be served nowhere. */
  readonly refused: readonly PortRefusal[];
  /** Addresses in the status that are outside the pool and not recorded: ignored. */
  readonly disowned: readonly string[];
  /**
   * furiwake published the addresses in its status, and they are neither in the pool nor recorded: this one runs with other
   * flags or another state directory. The status stays, and nothing is assigned, until the administrator decides.
   */
  readonly keepsStatus: boolean;
  /** It waits for a port that a program on the host has, or that is reserved there: no event tells when that ends. */
  readonly waitsForHost: boolean;
  /** The addresses are the host's own: furiwake never adds them to the host nor announces them. */
  readonly isHostAddress: boolean;
};

/** True when both say the same of the same ports. */
export function isSameAssignment(a: Assignment, b: Assignment): boolean {
  return (
    isSameVerdict(a.verdict, b.verdict) &&
    a.waitsForHost === b.waitsForHost &&
    a.isHostAddress === b.isHostAddress &&
    a.keepsStatus === b.keepsStatus &&
    a.disowned.join() === b.disowned.join() &&
    isSameList(a.refused, b.refused, isSameRefusal) &&
    isSameList(
      a.addresses,
      b.addresses,
      (x, y) =>
        x.ip.text === y.ip.text &&
        isSameList(x.served, y.served, (port, other) => port === other) &&
        isSameList(x.taken, y.taken, isSameRefusal),
    )
  );
}

function isSameRefusal(a: PortRefusal, b: PortRefusal): boolean {
  return a.port === b.port && isSameVerdict(a, b);
}

function isSameVerdict(a: Verdict, b: Verdict): boolean {
  return a.reason === b.reason && a.message === b.message;
}

function isSameList<T>(a: readonly T[], b: readonly T[], isSame: (a: T, b: T) => boolean): boolean {
  return a.length === b.length && a.every((item, index) => isSame(item, b[index] as T));
}
