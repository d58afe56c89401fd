import type { Ip } from '../ip/ip.ts';
import type { ListenerKey, ServiceKey, ServiceUid } from '../model/names.ts';
import type { ServicePort } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import type { PortDecision } from './ports.ts';

/** What is remembered of a Service that has an address: it keeps that, and the listeners it was first to have. */
export type AddressRecord = {
  readonly uid: ServiceUid;
  readonly service: ServiceKey;
  readonly addresses: readonly Ip[];
  readonly listeners: readonly ListenerKey[];
};

/** An address of a Service: the ports that are served on it, and those that another Service has there or the host needs. */
export type AssignedAddress = {
  readonly ip: Ip;
  readonly served: readonly ServicePort[];
  readonly taken: PortDecision['refused'];
};

/** The addresses of one Service, and what becomes of each of its ports. */
export type Assignment = {
  /** At most one per family, IPv4 first; empty when it has none. */
  readonly addresses: readonly AssignedAddress[];
  /** `Assigned`, or why it has no address, or why it keeps one that it no longer asks for. */
  readonly verdict: Verdict;
  /** Ports that can be served nowhere. */
  readonly refused: PortDecision['refused'];
  /** An address in status, from somebody else and outside the pool, that is not taken over. */
  readonly disowned: readonly string[];
};
