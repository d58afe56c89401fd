import type { Assignment } from '../addresses/assignment.ts';
import { conditionTypes, fieldManager, ownFinalizer } from '../model/contract.ts';
import type { Family } from '../ip/ip.ts';
import type { BackendId, ListenerKey, NodeName, ServiceKey } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import type { Service, ServicePort } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import { share } from '../share.ts';
import { decideDataplane, hasPodServers, isLocal, needsDirect, requestedDataplane } from './dataplane.ts';
import { changedApart, localBackendOf } from './apart-ports.ts';
import { makeNodesPlanner } from './nodes.ts';
import { optionsOfPort } from './port-options.ts';
import { makeLocalPlanner, type ServiceEndpoints } from './local.ts';
import { choosePods, needsNodePorts, type PodPlace } from './pods.ts';
import type { ProfileExcess } from './profile-budget.ts';
import { listenersOf, planSourceRanges } from './source-ranges.ts';
import { makeWithoutEndpoints } from './without-endpoints.ts';
import {
  emptyTable,
  isPodBackend,
  type Listener,
  type Listeners,
  listenerKey,
  makeListener,
  nodesBackend,
  podBackend,
  type PodBackend,
  type TrafficTable,
  usesNat,
} from './table.ts';

export type TrafficInput = {
  /** Services that are ours. A Service has no listeners before our finalizer has been set. */
  readonly services: PersistentMap<ServiceKey, Service>;
  readonly assignments: PersistentMap<ServiceKey, Assignment>;
  /** Services whose source ranges exceed the budget of the host (`makeRangeBudget`): closed to all clients. */
  readonly overBudget: ReadonlySet<ServiceKey>;
  /** Services with the usual profile, because theirs is one too many (`makeProfileBudget`). */
  readonly overProfiles: ProfileExcess;
  readonly nodes: ReadonlyMap<NodeName, Node>;
  /** The families in which the host can reach nodes on a LAN. */
  readonly onLink: ReadonlySet<Family>;
  /** Nodes that an administrator drains (`furiwake drain NODE`). */
  readonly drained: ReadonlySet<NodeName>;
  /** Services that an administrator drains (`furiwake drain NS/NAME`), as far as HAProxy serves them. */
  readonly drainedServices: ReadonlySet<ServiceKey>;
  /** `undefined`: not known yet. The table then has only the backends of all nodes. */
  readonly endpoints: PersistentMap<ServiceKey, ServiceEndpoints> | undefined;
  readonly podPlace: PodPlace;
};

/**
 * Plans the table of one host. Pure, except for a cache: what a planner remembers of its last table saves work and never changes the
 * result. The listeners of a Service stay the same objects while its spec, assignment and published addresses do; with
 * Pods as servers, while they have the same revision.
 */
export function makeTrafficPlanner(): (input: TrafficInput) => TrafficTable {
  const planNodes = makeNodesPlanner();
  const planLocal = makeLocalPlanner();
  const withoutEndpointsOf = makeWithoutEndpoints();
  let last: Omit<TrafficInput, 'nodes' | 'drained'> = {
    services: PersistentMap.empty(),
    assignments: PersistentMap.empty(),
    overBudget: new Set(),
    overProfiles: new Map(),
    drainedServices: new Set(),
    onLink: new Set(),
    endpoints: undefined,
    podPlace: { routed: [], reserved: new Map(), pool: [] },
  };
  let listeners: Listeners = emptyTable.listeners;
  let pods: TrafficTable['pods'] = emptyTable.pods;
  let table = emptyTable;
  /** The Services that ask for Pods as servers. */
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
    const isOverBudget = input.overBudget.has(key);
    const isSame =
      !isApartChanged &&
      before?.uid === service.uid &&
      before.spec === service.spec &&
      last.assignments.get(key) === assignment &&
      (!needsDirect(service.spec) || isSameSet(last.onLink, input.onLink)) &&
      last.overBudget.has(key) === isOverBudget &&
      last.overProfiles.has(key) === input.overProfiles.has(key) &&
      last.drainedServices.has(key) === input.drainedServices.has(key) &&
      publishedVips(before).join() === publishedVips(service).join();
    if (!asksForPods(service) && isSame && known.length > 0) return { listeners: known, pods: [] };
    const next = planCarriers(service, assignment, isOverBudget, input);
    return asksForPods(service) ? { ...next, listeners: withKnown(next.listeners, known) } : next;
  };

  /** Those whose Pods may differ. */
  const podsChanged = ({ endpoints, podPlace }: TrafficInput): Iterable<ServiceKey> => {
    if (podUsers.size === 0 || (last.endpoints === endpoints && last.podPlace === podPlace)) return [];
    if (last.podPlace !== podPlace || last.endpoints === undefined || endpoints === undefined) return podUsers;
    return PersistentMap.changedKeys(last.endpoints, endpoints).filter((key) => podUsers.has(key));
  };

  return (input) => {
    const { services, assignments, overBudget, overProfiles, drainedServices, onLink, endpoints, podPlace } = input;
    const apart = changedApart(services, last.endpoints, endpoints);
    const changed = new Set([
      ...apart,
      ...PersistentMap.changedKeys(last.services, services),
      ...PersistentMap.changedKeys(last.assignments, assignments),
      ...(isSameSet(last.onLink, onLink) ? [] : servicesOnLink(services)),
      ...(last.overBudget === overBudget ? [] : [...last.overBudget, ...overBudget]),
      ...(last.overProfiles === overProfiles ? [] : [...last.overProfiles.keys(), ...overProfiles.keys()]),
      ...(last.drainedServices === drainedServices ? [] : [...last.drainedServices, ...drainedServices]),
      ...podsChanged(input),
    ]);
    const removed: [ListenerKey, undefined][] = [];
    const present: [ListenerKey, Listener][] = [];
    const backendsOf = new Map<ServiceKey, ReadonlySet<BackendId>>();
    const podChanges = new Map<BackendId, PodBackend | undefined>();
    for (const service of changed) {
      const before = listenersBefore(service);
      for (const { key, backend } of before) {
        removed.push([key, undefined]);
        if (isPodBackend(backend)) podChanges.set(backend, undefined);
      }
      const { listeners: now, pods: found } = carriersNow(service, input, before, apart.has(service));
      for (const listener of now) present.push([listener.key, listener]);
      for (const [id, backend] of found) podChanges.set(id, share(pods.get(id), backend));
      if (now.length > 0 && services.get(service)?.spec.backends !== undefined) podUsers.add(service);
      else podUsers.delete(service);
      backendsOf.set(service, new Set(now.map(({ backend }) => backend)));
    }
    // As a map: a listener that stays, or that another Service gets, is not removed.
    listeners = listeners.with(new Map<ListenerKey, Listener | undefined>([...removed, ...present]));
    pods = pods.with(podChanges);
    last = { services, assignments, overBudget, overProfiles, drainedServices, onLink, endpoints, podPlace };
    const { nodes, excludedNodes, backends: shared } = planNodes(input.nodes, input.drained);
    const backends = planLocal({ services, endpoints, backendsOf, nodes, shared });
    const withoutEndpoints = withoutEndpointsOf(input);
    const next = { listeners, backends, pods, nodes, excludedNodes, withoutEndpoints };
    if (!isSameParts(table, next)) table = next;
    return table;
  };
}

/** The listeners of a Service, and the Pods that serve them; without those while the endpoints are not known. */
type Carriers = {
  readonly listeners: readonly Listener[];
  readonly pods: readonly (readonly [BackendId, PodBackend])[];
};

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

function isSameSet(a: ReadonlySet<Family>, b: ReadonlySet<Family>): boolean {
  return a.size === b.size && [...a].every((family) => b.has(family));
}

/** Those whose dataplane depends on the LANs of the host. */
function servicesOnLink(services: TrafficInput['services']): readonly ServiceKey[] {
  return Array.from(services.values()).flatMap(({ key, spec }) => (needsDirect(spec) ? key : []));
}

function asksForPods({ spec }: Service): boolean {
  return spec.backends !== undefined;
}

/** `next`; a listener with the same revision as before stays the same object. */
function withKnown(next: readonly Listener[], known: readonly Listener[]): readonly Listener[] {
  return next.map(
    (listener) => known.find(({ key, revision }) => key === listener.key && revision === listener.revision) ?? listener,
  );
}

function planCarriers(
  service: Service,
  assignment: Assignment,
  isOverBudget: boolean,
  {
    onLink,
    endpoints,
    overProfiles,
    drainedServices,
    podPlace,
  }: Pick<TrafficInput, 'onLink' | 'endpoints' | 'overProfiles' | 'drainedServices' | 'podPlace'>,
): Carriers {
  const { key, uid, spec } = service;
  const vips = publishedVips(service);
  const { isHostAddress } = assignment;
  const { ranges } = planSourceRanges(spec.sourceRanges, listenersOf(assignment), isOverBudget);
  const pods: [BackendId, PodBackend][] = [];
  const groups = endpoints?.get(key)?.groups ?? [];
  const nodes = (family: Family, port: ServicePort): BackendId =>
    isLocal(spec) ? localBackendOf(family, key, port, groups) : nodesBackend(family);
  const backendOf = (family: Family, port: ServicePort): BackendId => {
    if (!hasPodServers(spec, port)) return nodes(family, port);
    const id = podBackend(family, key, port.port);
    if (endpoints === undefined) return id;
    const chosen = choosePods(family, port, groups, podPlace);
    if (needsNodePorts(chosen, port)) return nodes(family, port);
    pods.push([id, { family, pods: chosen.pods }]);
    return id;
  };
  const isDrained = drainedServices.has(key);
  const listeners = assignment.addresses.flatMap(({ ip, served }) =>
    served.flatMap((port) => {
      const isVip = vips.includes(ip.text);
      // `direct` would take new connections; a port without a nodePort has nothing else.
      const isLeaving = isDrained && port.nodePort !== 0;
      const asked = isLeaving && spec.dataplane === 'direct' ? { ...spec, dataplane: undefined } : spec;
      const carriage = decideDataplane(asked, port, {
        isDrained: isLeaving,
        isHostAddress,
        hasNextHop: onLink.has(ip.family),
        isPublished: isVip,
      });
      if ('reason' in carriage) return []; // no assignment has such a port
      const isDirect = carriage.dataplane === 'direct';
      return makeListener({
        address: ip,
        protocol: port.protocol,
        port: port.port,
        service: key,
        uid,
        ...carriage,
        isPublished: isDirect && isVip,
        isAffine: carriage.dataplane !== 'haproxy' && spec.sessionAffinity === 'ClientIP',
        affinitySeconds: usesNat(carriage) && spec.sessionAffinity === 'ClientIP' ? spec.affinitySeconds : 0,
        backend: backendOf(ip.family, port),
        targetPort: isDirect && carriage.standIn === undefined ? 0 : port.nodePort,
        options: carriage.dataplane === 'haproxy' ? optionsOfPort(spec, port, overProfiles.has(key)) : undefined,
        sourceRanges: ranges?.filter((range) => range.family === ip.family),
        isDraining: isDrained,
        isHostAddress,
      });
    }),
  );
  return { listeners, pods };
}

/**
 * The addresses that kube-proxy knows, by the status; only of a Service that `direct` serves or may serve. Kubernetes completes
 * a status without `ipMode` with VIP: without a request only furiwake's own says that nodes serve the address for it.
 */
function publishedVips({ spec, status }: Service): readonly string[] {
  const requested = requestedDataplane(spec);
  const isAutomatic = requested === undefined && status.ingressManager === fieldManager;
  if (requested !== 'direct' && !isAutomatic) return [];
  return status.ingress.flatMap(({ ip, ipMode }) => (ipMode === 'VIP' ? (ip ?? []) : []));
}

/**
 * Our condition is written after our finalizer, so it shows that the finalizer was there. If another client removed it, it
 * is being restored, and the traffic does not stop for that.
 */
function hasHadFinalizer({ finalizers, status }: Service): boolean {
  return (
    finalizers.includes(ownFinalizer) ||
    status.conditions.some((each) => each.type === conditionTypes.addressAssigned && each.status === 'True')
  );
}
