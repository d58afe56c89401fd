import { families, type Family, type Ip, parseIp } from '../ip/ip.ts';
import { indexOfRange, type IpRange, rangeContains } from '../ip/range.ts';
import { specialUse } from '../ip/special-use.ts';
import type { NodeName } from '../model/names.ts';
import { isSameMap } from '../persistent-map.ts';
import type { Protocol, Service, ServicePort } from '../model/service.ts';
import type { HostFacts } from '../model/host.ts';
import type { NodeEndpoints } from './local.ts';
import { podBackend, type PodServer, type TrafficTable } from './table.ts';

/** The endpoints of one EndpointSlice that may take connections, and their ports. Texts are not validated. */
export type EndpointGroup = {
  /** Those that kube-proxy counts as local to a node. An endpoint that is in two slices for a moment counts twice. */
  readonly nodes: readonly NodeEndpoints[];
  readonly family: Family | undefined;
  /** `name` is that of the port of the Service; a port without a number is not listed. */
  readonly ports: readonly { readonly name: string; readonly protocol: Protocol; readonly port: number }[];
  readonly endpoints: readonly Endpoint[];
};

export type Endpoint = {
  readonly address: string;
  /** Empty if it is not known. */
  readonly node: NodeName | '';
  /** False: it terminates and still serves. */
  readonly isReady: boolean;
  /** The zones whose clients should use it (`hints.forZones`). */
  readonly zones?: readonly string[];
};

/** What decides whether this host may connect to an address. The same object while nothing differs. */
export type PodPlace = {
  /** Networks to which the host has a route other than a default route; merged. */
  readonly routed: readonly IpRange[];
  /** Addresses that no Pod can have, by text, and what each is: those of the host, and those that it needs. */
  readonly reserved: ReadonlyMap<string, string>;
  /** The addresses of Services. */
  readonly pool: readonly IpRange[];
  /** Of this host, as in the label `topology.kubernetes.io/zone` of nodes. */
  readonly zone: string | undefined;
  /** The nodes drained with `furiwake drain`. */
  readonly drained: ReadonlySet<NodeName>;
};

/** The place of this host; the same object while its parts are. */
export function makePodPlace(
  zone: string | undefined,
): (
  parts: Pick<PodPlace, 'routed' | 'pool' | 'drained'>,
  facts: Pick<HostFacts, 'ownAddresses' | 'needs'>,
) => PodPlace {
  let place: PodPlace = { routed: [], reserved: new Map(), pool: [], zone, drained: new Set() };
  return ({ routed, pool, drained }, { needs, ownAddresses }) => {
    const own = ownAddresses.map(({ text }) => [text, 'address of the load-balancer host'] as const);
    const next = { routed, reserved: new Map([...needs, ...own]), pool, zone, drained };
    const isSameSet = place.routed === routed && place.pool === pool && place.drained === drained;
    const isSame = isSameSet && isSameMap(place.reserved, next.reserved);
    if (!isSame) place = next;
    return place;
  };
}

/** The number of Pods that serve the Service, over its ports and families; `undefined`: no port has Pods as servers. */
export function countPods({ key, spec }: Pick<Service, 'key' | 'spec'>, { pods }: TrafficTable): number | undefined {
  if (spec.backends === undefined) return undefined;
  const found = families.flatMap((family) =>
    spec.ports.flatMap(({ port }) => pods.get(podBackend(family, key, port)) ?? []),
  );
  return found.length === 0 ? undefined : found.reduce((sum, backend) => sum + backend.pods.length, 0);
}

/** The Pods for one port of a Service, and the endpoints that are skipped. */
export type PodChoice = {
  readonly pods: readonly PodServer[];
  /** Addresses that a Pod cannot have, each with what it is. */
  readonly refused: ReadonlyMap<string, string>;
  /** Addresses to which the host has no route but a default one. */
  readonly unrouted: readonly string[];
};

/** `use`: of an address that no Pod has, or to which the host has no route, why. */
type PlacedEndpoint = {
  readonly text: string;
  readonly node: NodeName | undefined;
  readonly isReady: boolean;
  readonly zones: readonly string[];
} & (
  | { readonly address: Ip; readonly use: 'pod' | 'unrouted' }
  | { readonly address: undefined; readonly use: string }
);

/** Of a group, and the place for which they are; all ports of a Service have the same ones. */
const placed = new WeakMap<
  EndpointGroup,
  { readonly place: PodPlace; readonly endpoints: readonly PlacedEndpoint[] }
>();

/** The endpoints of a group, in the order of their addresses. */
function placedEndpoints(family: Family, group: EndpointGroup, place: PodPlace): readonly PlacedEndpoint[] {
  const known = placed.get(group);
  if (known?.place === place) return known.endpoints;
  const endpoints = group.endpoints
    .map((endpoint) => placedEndpoint(family, endpoint, place))
    .sort((a, b) => (a.text < b.text ? -1 : 1));
  placed.set(group, { place, endpoints });
  return endpoints;
}

function placedEndpoint(
  family: Family,
  { address: written, node, isReady, zones = [] }: Endpoint,
  place: PodPlace,
): PlacedEndpoint {
  const rest = { node: node === '' ? undefined : node, isReady, zones };
  const address = parseIp(written);
  if (address === undefined || address.family !== family)
    return { ...rest, text: written, address: undefined, use: `not an IPv${family} address` };
  const { text } = address;
  const use = specialUse(address) ?? place.reserved.get(text);
  if (use !== undefined) return { ...rest, text, address: undefined, use };
  if (place.pool.some((range) => rangeContains(range, address)))
    return { ...rest, text, address: undefined, use: 'address of the pool of Services' };
  return { ...rest, text, address, use: indexOfRange(place.routed, address) < 0 ? 'unrouted' : 'pod' };
}

type FoundPod = {
  readonly server: Omit<PodServer, 'isDraining'>;
  readonly zones: readonly string[];
  isReady: boolean;
};

/**
 * Chooses the Pods that take the connections of a port. As kube-proxy does, those that terminate take new connections only
 * while none is ready (KEP-1669); otherwise they drain. If all that are ready have hints for zones, and some for the zone of this
 * host, the others drain, too (KEP-2433, KEP-4444; `topologyModeFromHints` in pkg/proxy/topology.go), unless all those for the zone are
 * on drained nodes. An endpoint that is in several EndpointSlices for a moment counts once.
 */
export function choosePods(
  family: Family,
  { name, protocol }: Pick<ServicePort, 'name' | 'protocol'>,
  groups: readonly EndpointGroup[],
  place: PodPlace,
): PodChoice {
  const found = new Map<string, FoundPod>();
  const refused = new Map<string, string>();
  const unrouted = new Set<string>();
  for (const group of groups) {
    const port = group.ports.find((each) => each.name === name && each.protocol === protocol)?.port;
    if (group.family !== family || port === undefined) continue;
    for (const { text, address, use, node, isReady, zones } of placedEndpoints(family, group, place)) {
      if (address === undefined) refused.set(text, use);
      else if (use === 'unrouted') unrouted.add(text);
      else {
        const id = `${text} ${port}`;
        const known = found.get(id);
        if (known === undefined) found.set(id, { server: { address, port, node }, zones, isReady });
        else known.isReady ||= isReady;
      }
    }
  }
  const chosen = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
  const ready = chosen.filter(({ isReady }) => isReady);
  const near = ready.filter(
    ({ server: { node }, zones }) =>
      zones.some((zone) => zone === place.zone) && (node === undefined || !place.drained.has(node)),
  );
  const isByZone = near.length > 0 && ready.every(({ zones }) => zones.length > 0);
  const takers = new Set(isByZone ? near : ready.length > 0 ? ready : chosen);
  return {
    pods: chosen.map((pod) => ({ ...pod.server, isDraining: !takers.has(pod) })),
    refused,
    unrouted: [...unrouted].sort(),
  };
}

/** Whether NodePorts serve the port instead: the host reaches none of its Pods. */
export function needsNodePorts(
  { pods, unrouted }: Pick<PodChoice, 'pods' | 'unrouted'>,
  { nodePort }: Pick<ServicePort, 'nodePort'>,
): boolean {
  return pods.length === 0 && unrouted.length > 0 && nodePort !== 0;
}

/**
 * Why the text is not the address of an endpoint of the family, on whatever node; `undefined`: it may be. Addresses of nodes, of the
 * API server and of this host may be: those of Pods in the network of their node.
 */
export function impossibleEndpoint(family: Family, text: string): string | undefined {
  const address = parseIp(text);
  return address?.family === family ? specialUse(address) : `not an IPv${family} address`;
}

/** The endpoints of a family that count for `externalTrafficPolicy: Local`, and those that do not, each with what it is. */
export function localEndpoints(
  family: Family,
  groups: readonly EndpointGroup[],
): { readonly count: number; readonly refused: ReadonlyMap<string, string> } {
  const refused = new Map<string, string>();
  let count = 0;
  for (const { address, node } of groups.flatMap((group) => (group.family === family ? group.endpoints : []))) {
    const why = node === '' ? undefined : impossibleEndpoint(family, address);
    if (why !== undefined) refused.set(address, why);
    else if (node !== '') count += 1;
  }
  return { count, refused };
}
