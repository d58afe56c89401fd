import { quote } from '../addresses/request.ts';
import { backendsAnnotation, dataplaneAnnotation } from '../model/contract.ts';
import type { Protocol, ServicePort, ServiceSpec } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import { asksForHaproxy, haproxyNeed } from './port-options.ts';

/** What carries the packets of a listener. */
export const dataplanes = ['haproxy', 'direct', 'nat'] as const;
export type Dataplane = (typeof dataplanes)[number];

/** Those that serve a listener while `direct` has no node for it. */
export const standIns = ['haproxy', 'nat'] as const;
export type StandIn = (typeof standIns)[number];

/** Why the annotation that requests a dataplane is ignored; empty: it is not. */
export function dataplaneTrouble(text: string | undefined): readonly string[] {
  if (text === undefined || requestedDataplane({ dataplane: text }) !== undefined) return [];
  return [`annotation ${dataplaneAnnotation}=${quote(text)} (valid: ${dataplanes.join(', ')})`];
}

/** Why the annotation that requests Pods as servers is ignored; empty: it is not. */
export function backendsTrouble(text: string | undefined): readonly string[] {
  if (text === undefined || text === 'pods') return [];
  return [`annotation ${backendsAnnotation}=${quote(text)} (valid: pods)`];
}

type DataplaneRequest = Pick<ServiceSpec, 'dataplane' | 'backends' | 'options' | 'ports'>;

/** The dataplane that the annotation requests; `undefined` without a valid one. */
export function requestedDataplane({ dataplane }: Pick<DataplaneRequest, 'dataplane'>): Dataplane | undefined {
  return dataplanes.find((name) => name === dataplane);
}

/** Request × protocol → dataplane: HAProxy serves TCP only, `nat` serves what it cannot. */
const choices: Readonly<Record<Dataplane | 'none', Readonly<Record<Protocol, Dataplane>>>> = {
  none: { TCP: 'haproxy', UDP: 'nat', SCTP: 'nat' },
  haproxy: { TCP: 'haproxy', UDP: 'nat', SCTP: 'nat' },
  direct: { TCP: 'direct', UDP: 'direct', SCTP: 'direct' },
  nat: { TCP: 'nat', UDP: 'nat', SCTP: 'nat' },
};

/**
 * Which dataplane can serve a port of the Service, or why none can: `direct` does without a nodePort, and HAProxy if its
 * servers are Pods; only HAProxy shows the server who the client is, by the PROXY protocol or in HTTP mode. Where the Service
 * requests none, {@link decideDataplane} may still decide for `direct`.
 */
export function chooseDataplane(request: DataplaneRequest, servicePort: ServicePort): Dataplane | Verdict {
  const { protocol, port, nodePort } = servicePort;
  const choice = choices[requestedDataplane(request) ?? 'none'][protocol];
  const need = haproxyNeed(request, servicePort);
  if (choice !== 'haproxy' && need !== undefined)
    return {
      reason: 'HaproxyRequired',
      message: `TCP port ${port} asks for ${need}, which ${choice} does not have: remove that annotation or ${dataplaneAnnotation}`,
    };
  if (choice === 'direct' || nodePort !== 0 || hasPodServers(request, { protocol })) return choice;
  const remedy = `${dataplaneAnnotation}: direct${protocol === 'TCP' ? ` or ${backendsAnnotation}: pods` : ''}`;
  return {
    reason: 'NodePortMissing',
    message: `${protocol} port ${port} has no nodePort (spec.allocateLoadBalancerNodePorts is false): without one it is served only with the annotation ${remedy}`,
  };
}

/** Whether the Service asks for Pods as the servers of a port, and HAProxy, the only dataplane that can, serves the port. */
export function hasPodServers(request: DataplaneRequest, { protocol }: Pick<ServicePort, 'protocol'>): boolean {
  return request.backends === 'pods' && choices[requestedDataplane(request) ?? 'none'][protocol] === 'haproxy';
}

/** Only nodes with endpoints of the Service take its connections. */
export function isLocal({ externalTrafficPolicy }: Pick<ServiceSpec, 'externalTrafficPolicy'>): boolean {
  return externalTrafficPolicy === 'Local';
}

/** Whether the Service asks, on all its ports, for what only `direct` does: to keep the address, or the Pod, of a client. */
export function needsDirect(spec: Pick<ServiceSpec, 'externalTrafficPolicy' | 'sessionAffinity'>): boolean {
  return isLocal(spec) || spec.sessionAffinity === 'ClientIP';
}

/** Whether only `direct` serves a port of the Service, unless HAProxy has Pods as servers. */
export function lacksNodePorts({ ports }: Pick<ServiceSpec, 'ports'>): boolean {
  return ports.some(({ nodePort }) => nodePort === 0);
}

/** Whether furiwake may choose `direct` for a Service by itself. */
export function mayMoveToDirect(
  spec: DataplaneRequest,
  { isHostAddress }: Pick<DataplaneFacts, 'isHostAddress'>,
): boolean {
  return requestedDataplane(spec) === undefined && !asksForHaproxy(spec) && spec.backends !== 'pods' && !isHostAddress;
}

/** What carries a port. */
type Carriage = {
  readonly dataplane: Dataplane;
  /** What takes its flows while `direct` cannot. */
  readonly standIn: StandIn | undefined;
  /** Only nodes that were shown to answer clients themselves get packets. */
  readonly needsProof: boolean;
};

/** What a decision depends on beside the Service. */
type DataplaneFacts = {
  /** The Service gets no new connections, which `direct` would accept. */
  readonly isDrained: boolean;
  /** The address is the load-balancer host's own: kube-proxy in IPVS mode would put it on every node. */
  readonly isHostAddress: boolean;
  /** The host has a node in one of its LANs, in the family of the address. False as well while that is not known. */
  readonly hasNextHop: boolean;
  /** furiwake has published the address for kube-proxy, so nodes may have connections of the Service. */
  readonly isPublished: boolean;
};

/**
 * Decides what carries a port of a Service on one address:
 *
 *   request     Service                          host                          port
 *   haproxy     any                              any                           stack
 *   direct      any                              any                           direct, the stack stands in
 *   none        options for HAProxy              any                           stack
 *   none        Pods as servers                  any                           stack, TCP also without a nodePort
 *   none        any other                        its own address               stack
 *   none        any other                        any other                     without a nodePort: direct with proof
 *   none        Local, or affinity by client     a node on a LAN of it         direct with proof, the stack stands in
 *                                                or published for direct
 *   none        all its ports have nodePorts     published for direct          direct with proof, the stack stands in
 *   none        any other                        any                           stack
 *
 * Of several lines the first one counts. The stack: HAProxy for TCP, `nat` for UDP and SCTP; it serves only ports with a
 * nodePort, or Pods. Published for direct: what was chosen once stays, also when a node or a report is missing, or the Service
 * no longer needs it. A port without a nodePort leaves the others where they are: the address is then published for that port.
 */
export function decideDataplane(
  spec: DataplaneRequest & Pick<ServiceSpec, 'externalTrafficPolicy' | 'sessionAffinity'>,
  port: ServicePort,
  { isDrained, isHostAddress, hasNextHop, isPublished }: DataplaneFacts,
): Carriage | Verdict {
  const able = chooseDataplane(spec, port);
  const mayMove = mayMoveToDirect(spec, { isHostAddress });
  if (typeof able === 'object') return mayMove ? { dataplane: 'direct', standIn: undefined, needsProof: true } : able;
  const stack = port.protocol === 'TCP' ? 'haproxy' : 'nat';
  const standIn = port.nodePort === 0 ? undefined : stack;
  if (able === 'direct') return { dataplane: able, standIn, needsProof: false };
  const isChosen = needsDirect(spec) ? hasNextHop || isPublished : isPublished && !lacksNodePorts(spec);
  if (mayMove && isChosen && !isDrained) return { dataplane: 'direct', standIn, needsProof: true };
  return { dataplane: able, standIn: undefined, needsProof: false };
}
