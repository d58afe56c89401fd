import type { Assignment } from '../addresses/assignment.ts';
import type { BackendId, ListenerKey, NodeName, ServiceKey } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import type { Service } from '../model/service.ts';
import { isSameSet, PersistentMap } from '../persistent-map.ts';
import { share } from '../share.ts';
import { changedApart } from './apart-ports.ts';
import { type CarrierFacts, type Carriers, hasHadFinalizer, planCarriers, publishedVips } from './carriers.ts';
import { lacksNodePorts, needsDirect } from './dataplane.ts';
import { hostBackend } from './host-pods.ts';
import { makeLocalPlanner } from './local.ts';
import { makeNodesPlanner } from './nodes.ts';
import {
  emptyTable,
  isPodBackend,
  type Listener,
  type Listeners,
  listenerKey,
  type PodBackend,
  type TrafficTable,
} from './table.ts';
import { makeWithoutEndpoints } from './without-endpoints.ts';

export type TrafficInput = CarrierFacts & {
  /** Services that are ours. A Service has no listeners before our finalizer has been set. */
  readonly services: PersistentMap<ServiceKey, Service>;
  readonly assignments: PersistentMap<ServiceKey, Assignment>;
  readonly nodes: ReadonlyMap<NodeName, Node>;
  /** Nodes that an administrator drains (`furiwake drain NODE`). */
  readonly drained: ReadonlySet<NodeName>;
  /** False: the endpoints are outdated, so no listener counts as one without. Default: true. */
  readonly areEndpointsCurrent?: boolean;
};

/**
 * Plans the table of one host. Pure, except for a cache: what a planner remembers of its last table saves work and never changes the
 * result. The listeners of a Service stay the same objects while its spec, assignment and published addresses do; with
 * Pods in the table, while they have the same revision.
 */
export function makeTrafficPlanner(): (input: TrafficInput) => TrafficTable {
  const planNodes = makeNodesPlanner();
  const planLocal = makeLocalPlanner();
  const withoutEndpointsOf = makeWithoutEndpoints();
  let last: Omit<TrafficInput, 'nodes' | 'drained' | 'areEndpointsCurrent'> = {
    services: PersistentMap.empty(),
    assignments: PersistentMap.empty(),
    overBudget: new Set(),
    overProfiles: new Map(),
    overServers: new Map(),
    drainedServices: new Set(),
    onLink: new Set(),
    endpoints: undefined,
    podPlace: { routed: [], reserved: new Map(), pool: [], zone: undefined, drained: new Set() },
  };
  let listeners: Listeners = emptyTable.listeners;
  let pods: TrafficTable['pods'] = emptyTable.pods;
  let table = emptyTable;
  /** The Services that {@link usePods}. */
  const podUsers = new Set<ServiceKey>();

  /** Those that the service has in the last table. */
  const listenersBefore = (service: ServiceKey): readonly Listener[] =>
    (last.assignments.get(service)?.addresses ?? []).flatMap(({ ip, served }) =>
      served.flatMap(({ port, protocol }) => {
        const listener = listeners.get(listenerKey(ip, port, protocol));
        return listener?.service === service ? listener : [];
      }),
    );

  const carriersNow = (
    key: ServiceKey,
    input: TrafficInput,
    known: readonly Listener[],
    isApartChanged: boolean,
  ): Carriers => {
    const service = input.services.get(key);
    const assignment = input.assignments.get(key);
    if (service === undefined || assignment === undefined || !hasHadFinalizer(service))
      return { listeners: [], pods: [] };
    const before = last.services.get(key);
    const isSame =
      !isApartChanged &&
      before?.uid === service.uid &&
      before.spec === service.spec &&
      last.assignments.get(key) === assignment &&
      (!needsDirect(service.spec) || isSameSet(last.onLink, input.onLink)) &&
      last.overBudget.has(key) === input.overBudget.has(key) &&
      last.overProfiles.has(key) === input.overProfiles.has(key) &&
      last.drainedServices.has(key) === input.drainedServices.has(key) &&
      publishedVips(before).join() === publishedVips(service).join();
    if (!usePods(service.spec) && isSame && known.length > 0) return { listeners: known, pods: [] };
    const next = planCarriers(service, assignment, input);
    return usePods(service.spec) ? { ...next, listeners: withKnown(next.listeners, known) } : next;
  };

  /** Those whose Pods may differ. */
  const podsChanged = ({ endpoints, podPlace }: TrafficInput): Iterable<ServiceKey> => {
    if (podUsers.size === 0 || (last.endpoints === endpoints && last.podPlace === podPlace)) return [];
    if (last.podPlace !== podPlace || last.endpoints === undefined || endpoints === undefined) return podUsers;
    return PersistentMap.changedKeys(last.endpoints, endpoints).filter((key) => podUsers.has(key));
  };

  return (input) => {
    const { nodes: allNodes, drained, areEndpointsCurrent = true, ...rest } = input;
    const { services, assignments, overBudget, overProfiles, overServers, drainedServices, onLink, endpoints } = rest;
    const apart = changedApart(services, last.endpoints, endpoints);
    const changed = new Set([
      ...apart,
      ...PersistentMap.changedKeys(last.services, services),
      ...PersistentMap.changedKeys(last.assignments, assignments),
      ...(isSameSet(last.onLink, onLink) ? [] : servicesOnLink(services)),
      ...(last.overBudget === overBudget ? [] : [...last.overBudget, ...overBudget]),
      ...(last.overProfiles === overProfiles ? [] : [...last.overProfiles.keys(), ...overProfiles.keys()]),
      ...(last.overServers === overServers ? [] : [...last.overServers.keys(), ...overServers.keys()]),
      ...(last.drainedServices === drainedServices ? [] : [...last.drainedServices, ...drainedServices]),
      ...podsChanged(input),
    ]);
    const removed: [ListenerKey, undefined][] = [];
    const present: [ListenerKey, Listener][] = [];
    const backendsOf = new Map<ServiceKey, ReadonlySet<BackendId>>();
    const podChanges = new Map<BackendId, PodBackend | undefined>();
    for (const service of changed) {
      const before = listenersBefore(service);
      for (const listener of before) {
        removed.push([listener.key, undefined]);
        const { backend } = listener;
        const own = isPodBackend(backend) ? backend : hostBackend(listener);
        if (own !== undefined) podChanges.set(own, undefined);
      }
      const { listeners: now, pods: found } = carriersNow(service, input, before, apart.has(service));
      for (const listener of now) present.push([listener.key, listener]);
      for (const [id, backend] of found) podChanges.set(id, share(pods.get(id), backend));
      const spec = services.get(service)?.spec;
      if (now.length > 0 && spec !== undefined && usePods(spec)) podUsers.add(service);
      else podUsers.delete(service);
      backendsOf.set(service, new Set(now.map(({ backend }) => backend)));
    }
    // As a map: a listener that stays, or that another Service gets, is not removed.
    listeners = listeners.with(new Map<ListenerKey, Listener | undefined>([...removed, ...present]));
    pods = pods.with(podChanges);
    last = rest;
    const { nodes, excludedNodes, backends: shared } = planNodes(allNodes, drained);
    const backends = planLocal({ services, endpoints, backendsOf, nodes, shared });
    const withoutEndpoints = areEndpointsCurrent ? withoutEndpointsOf(input) : noneWithout;
    const next = { listeners, backends, pods, nodes, excludedNodes, withoutEndpoints };
    if (!isSameParts(table, next)) table = next;
    return table;
  };
}

const noneWithout: NonNullable<TrafficTable['withoutEndpoints']> = PersistentMap.empty();

function isSameParts(a: TrafficTable, b: TrafficTable): boolean {
  return (
    a.listeners === b.listeners &&
    a.nodes === b.nodes &&
    a.excludedNodes === b.excludedNodes &&
    a.backends === b.backends &&
    a.pods === b.pods &&
    a.withoutEndpoints === b.withoutEndpoints
  );
}

/** Those whose dataplane depends on the LANs of the host. */
function servicesOnLink(services: TrafficInput['services']): readonly ServiceKey[] {
  return Array.from(services.values()).flatMap(({ key, spec }) => (needsDirect(spec) ? key : []));
}

/** Whether the table may have Pods of the Service: it asks for them as servers, or has ports for which only `direct` may be left. */
export function usePods(spec: Pick<Service['spec'], 'backends' | 'ports'>): boolean {
  return spec.backends !== undefined || lacksNodePorts(spec);
}

/** `next`; a listener with the same revision as before stays the same object. */
function withKnown(next: readonly Listener[], known: readonly Listener[]): readonly Listener[] {
  return next.map(
    (listener) => known.find(({ key, revision }) => key === listener.key && revision === listener.revision) ?? listener,
  );
}
