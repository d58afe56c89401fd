import { families, type Family } from '../ip/ip.ts';
import type { BackendId, NodeName, ServiceKey } from '../model/names.ts';
import type { Service, ServicePort } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import { share } from '../share.ts';
import { apartBackend, hasPort } from './apart-ports.ts';
import type { EndpointGroup } from './pods.ts';
import { addressOfNode, type Backend, emptyTable, localBackend, type Server, type TrafficTable } from './table.ts';

/** The endpoints of a Service on one node. `terminating`: those that still serve while they end. */
export type NodeEndpoints = { readonly node: NodeName; readonly ready: number; readonly terminating: number };

/** The endpoints of a Service, by EndpointSlice. */
export type ServiceEndpoints = readonly EndpointGroup[];

/** Adds up endpoints, node by node; in the order of the nodes' names. */
export function sumOfEndpoints(parts: Iterable<NodeEndpoints>): readonly NodeEndpoints[] {
  const sum = new Map<NodeName, NodeEndpoints>();
  for (const { node, ready, terminating } of parts) {
    const known = sum.get(node);
    sum.set(node, {
      node,
      ready: (known?.ready ?? 0) + ready,
      terminating: (known?.terminating ?? 0) + terminating,
    });
  }
  return [...sum.values()].sort((a, b) => (a.node < b.node ? -1 : 1));
}

/** The greatest weight: that of HAProxy. */
const mostWeight = 256;

/**
 * The backend of a Service with `externalTrafficPolicy: Local`: the nodes of `nodes` that have endpoints, each with its number
 * of them as weight. As kube-proxy does, a node that has ready endpoints ignores those that terminate (KEP-1669).
 * `healthCheckPort`: 0 if there is none.
 */
export function planLocalBackend(
  family: Family,
  endpoints: readonly NodeEndpoints[],
  nodes: TrafficTable['nodes'],
  healthCheckPort: number,
): Backend {
  const found = endpoints.flatMap(({ node, ready, terminating }): readonly Server[] => {
    const known = nodes.get(node);
    const count = ready > 0 ? ready : terminating;
    if (count === 0 || known === undefined || addressOfNode(known, family) === undefined) return [];
    return [{ node, weight: count, isDraining: ready === 0 }];
  });
  const most = found.reduce((greatest, { weight }) => Math.max(greatest, weight), mostWeight);
  const servers = found.map((server) => ({
    ...server,
    weight: Math.max(1, Math.round((server.weight * mostWeight) / most)),
  }));
  return { family, servers, healthCheckPort: healthCheckPort === 0 ? undefined : healthCheckPort };
}

const noEndpoints = PersistentMap.empty<ServiceKey, ServiceEndpoints>();

type LocalInput = {
  readonly services: PersistentMap<ServiceKey, Service>;
  readonly endpoints: PersistentMap<ServiceKey, ServiceEndpoints> | undefined;
  /** The backends of the listeners of Services that changed. */
  readonly backendsOf: ReadonlyMap<ServiceKey, ReadonlySet<BackendId>>;
  readonly nodes: TrafficTable['nodes'];
  /** The backends of all nodes. */
  readonly shared: TrafficTable['backends'];
};

/**
 * All backends. Pure, except for a cache: what it remembers saves work. Only those of Services whose listeners or endpoints changed are
 * planned again, and all after a change of nodes.
 */
export function makeLocalPlanner(): (input: LocalInput) => TrafficTable['backends'] {
  let endpoints: LocalInput['endpoints'];
  let nodes: TrafficTable['nodes'] | undefined;
  let shared = emptyTable.backends;
  let backends = emptyTable.backends;
  /** The Services with backends of their own, these, and all that their listeners use. */
  const owners = new Map<ServiceKey, { readonly used: ReadonlySet<BackendId>; readonly own: readonly BackendId[] }>();
  return (input) => {
    const known = input.endpoints;
    const concerned = new Set(input.backendsOf.keys());
    if (known !== endpoints)
      for (const key of PersistentMap.changedKeys(endpoints ?? noEndpoints, known ?? noEndpoints)) concerned.add(key);
    if (nodes !== input.nodes || (endpoints === undefined) !== (known === undefined))
      for (const key of owners.keys()) concerned.add(key);
    const changes = new Map<BackendId, Backend | undefined>();
    if (shared !== input.shared)
      for (const [id, backend] of input.shared) changes.set(id, share(backends.get(id), backend));
    for (const key of concerned) {
      const ids = input.backendsOf.get(key) ?? owners.get(key)?.used ?? new Set();
      const service = input.services.get(key);
      const own = localBackendsOf(key, service?.spec.ports ?? [], ids);
      for (const id of owners.get(key)?.own ?? []) changes.set(id, undefined);
      if (own.length > 0) owners.set(key, { used: ids, own: own.map(({ id }) => id) });
      else owners.delete(key);
      for (const { id, family, port } of known === undefined ? [] : own) {
        const found = endpointsOnNodes(known?.get(key) ?? [], family, port);
        const next = planLocalBackend(family, found, input.nodes, service?.spec.healthCheckNodePort ?? 0);
        changes.set(id, share(backends.get(id), next));
      }
    }
    ({ endpoints, nodes, shared } = input);
    backends = backends.with(changes);
    return backends;
  };
}

type LocalBackendId = { readonly id: BackendId; readonly family: Family; readonly port: ServicePort | undefined };

/**
 * The backends of the nodes with endpoints, of each family of which `used` has one: that of the whole Service, for its status, and those
 * of its ports that are apart.
 */
function localBackendsOf(
  service: ServiceKey,
  ports: readonly ServicePort[],
  used: ReadonlySet<BackendId>,
): readonly LocalBackendId[] {
  return families.flatMap((family) => {
    const whole = { id: localBackend(family, service), family, port: undefined };
    const apart = ports
      .map((port) => ({ id: apartBackend(family, service, port), family, port }))
      .filter(({ id }) => used.has(id));
    return used.has(whole.id) || apart.length > 0 ? [whole, ...apart] : [];
  });
}

/** The endpoints of a family that are on a node, each node once; of `port`, those of the EndpointSlices that have it. */
export function endpointsOnNodes(
  endpoints: ServiceEndpoints,
  family: Family,
  port?: ServicePort,
): readonly NodeEndpoints[] {
  const groups = endpoints.filter((group) => group.family === family && (port === undefined || hasPort(group, port)));
  return sumOfEndpoints(groups.flatMap(({ nodes }) => nodes));
}

/** How many nodes with endpoints of the Service are in use; `undefined`: not known. */
export function countLocalNodes(service: ServiceKey, { backends }: TrafficTable): number | undefined {
  const known = families.flatMap((family) => backends.get(localBackend(family, service)) ?? []);
  return known.length === 0 ? undefined : known.reduce((sum, { servers }) => sum + servers.length, 0);
}
