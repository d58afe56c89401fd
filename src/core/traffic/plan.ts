import type { Assignment } from '../addresses/assignment.ts';
import { conditionTypes, ownFinalizer } from '../model/contract.ts';
import type { ListenerKey, NodeName, ServiceKey } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import type { Service } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import { chooseDataplane, requestedDataplane } from './dataplane.ts';
import { makeLocalPlanner, type ServiceEndpoints } from './local.ts';
import { listenersOf, planSourceRanges } from './source-ranges.ts';
import {
  emptyTable,
  type Listener,
  localBackend,
  makeListener,
  nodesBackend,
  nodesBackends,
  type TrafficNode,
  type TrafficTable,
} from './table.ts';

export type TrafficInput = {
  /** Services that are ours. A Service has no listeners before our finalizer has been set. */
  readonly services: PersistentMap<ServiceKey, Service>;
  readonly assignments: PersistentMap<ServiceKey, Assignment>;
  /** Services whose source ranges exceed the budget of the host (`makeRangeBudget`): closed to all clients. */
  readonly overBudget: ReadonlySet<ServiceKey>;
  readonly nodes: ReadonlyMap<NodeName, Node>;
  /** Nodes that an administrator drains (`furiwake drain NODE`). */
  readonly drained: ReadonlySet<NodeName>;
  /** `undefined`: not known yet. The table then has no backends of Services with `externalTrafficPolicy: Local`. */
  readonly endpoints: PersistentMap<ServiceKey, ServiceEndpoints> | undefined;
};

/**
 * Plans the table of one host. As good as pure: what a planner remembers of its last table saves work and never changes the
 * result. The listeners of a Service stay the same objects while its spec and assignment do, and for `direct` its published
 * addresses.
 */
export function makeTrafficPlanner(): (input: TrafficInput) => TrafficTable {
  const planNodes = makeNodesPlanner();
  const planLocal = makeLocalPlanner();
  let services: TrafficInput['services'] = PersistentMap.empty();
  let assignments: TrafficInput['assignments'] = PersistentMap.empty();
  let overBudget: TrafficInput['overBudget'] = new Set();
  let byService = PersistentMap.empty<ServiceKey, readonly Listener[]>();
  let listeners: TrafficTable['listeners'] = emptyTable.listeners;
  let table = emptyTable;

  return (input) => {
    const before = byService;
    const changed = new Set([
      ...PersistentMap.changedKeys(services, input.services),
      ...PersistentMap.changedKeys(assignments, input.assignments),
      ...(overBudget === input.overBudget ? [] : [...overBudget, ...input.overBudget]),
    ]);
    byService = byService.with(
      Array.from(changed, (key) => [
        key,
        listenersFor(input.services.get(key), input.assignments.get(key), input.overBudget.has(key)),
      ]),
    );
    const changes = new Map<ListenerKey, Listener | undefined>();
    for (const service of changed) for (const { key } of before.get(service) ?? []) changes.set(key, undefined);
    for (const service of changed)
      for (const listener of byService.get(service) ?? []) changes.set(listener.key, listener);
    listeners = listeners.with(changes);
    ({ services, assignments, overBudget } = input);
    const { nodes, backends: shared } = planNodes(input.nodes, input.drained);
    const backends = planLocal({ ...input, changed, byService, nodes, shared });
    if (table.listeners !== listeners || table.nodes !== nodes || table.backends !== backends)
      table = { listeners, backends, nodes };
    return table;
  };
}

const memo = new WeakMap<
  Assignment,
  {
    readonly spec: Service['spec'];
    readonly isOverBudget: boolean;
    readonly published: string;
    readonly listeners: readonly Listener[] | undefined;
  }
>();

/** `undefined` if there are none. */
function listenersFor(
  service: Service | undefined,
  assignment: Assignment | undefined,
  isOverBudget: boolean,
): readonly Listener[] | undefined {
  if (service === undefined || assignment === undefined || !hasHadFinalizer(service)) return undefined;
  const known = memo.get(assignment);
  const { key, spec } = service;
  const vips = publishedVips(service);
  const published = vips.join(' ');
  if (known?.spec === spec && known.isOverBudget === isOverBudget && known.published === published)
    return known.listeners;
  const { ranges } = planSourceRanges(spec.sourceRanges, listenersOf(assignment), isOverBudget);
  const planned = assignment.addresses.flatMap(({ ip, served }) =>
    served.flatMap((port) => {
      const dataplane = chooseDataplane(spec, port);
      if (typeof dataplane === 'object') return []; // no assignment has such a port
      const isDirect = dataplane === 'direct';
      return makeListener({
        address: ip,
        protocol: port.protocol,
        port: port.port,
        service: key,
        dataplane,
        isPublished: isDirect && vips.includes(ip.text),
        isAffine: isDirect && spec.sessionAffinity === 'ClientIP',
        backend: isLocal(spec) ? localBackend(ip.family, key) : nodesBackend(ip.family),
        targetPort: isDirect ? 0 : port.nodePort,
        sourceRanges: ranges?.filter((range) => range.family === ip.family),
        isHostAddress: assignment.isHostAddress,
      });
    }),
  );
  const listeners = planned.length === 0 ? undefined : planned.slice(); // of exactly this size
  memo.set(assignment, { spec, isOverBudget, published, listeners });
  return listeners;
}

/** Only nodes with endpoints of the Service take its connections. */
export function isLocal({ externalTrafficPolicy }: Pick<Service['spec'], 'externalTrafficPolicy'>): boolean {
  return externalTrafficPolicy === 'Local';
}

/** The addresses that kube-proxy knows, by the status; only of a Service that `direct` serves. */
function publishedVips({ spec, status }: Service): readonly string[] {
  if (requestedDataplane(spec) !== 'direct') return [];
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

type PlannedNodes = Pick<TrafficTable, 'nodes' | 'backends'>;

/** Omits excluded nodes: the dataplane drains a server before it removes it. The same nodes give the same objects. */
function makeNodesPlanner(): (nodes: ReadonlyMap<NodeName, Node>, drained: ReadonlySet<NodeName>) => PlannedNodes {
  let last: { readonly nodes: ReadonlyMap<NodeName, Node>; readonly drained: ReadonlySet<NodeName> } | undefined;
  let planned: PlannedNodes = emptyTable;
  return (nodes, drained) => {
    if (last?.nodes === nodes && last.drained === drained) return planned;
    last = { nodes, drained };
    const usable = [...nodes.values()]
      .filter(({ excluded, addresses }) => excluded === undefined && addresses.length > 0)
      .map(({ name, addresses }): TrafficNode => ({ name, addresses, state: drained.has(name) ? 'drain' : 'active' }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const next = { nodes: new Map(usable.map((node) => [node.name, node])), backends: nodesBackends(usable) };
    planned = {
      nodes: contentOf(planned.nodes) === contentOf(next.nodes) ? planned.nodes : next.nodes,
      backends: contentOfBackends(planned) === contentOfBackends(next) ? planned.backends : next.backends,
    };
    return planned;
  };
}

function contentOfBackends({ backends }: PlannedNodes): string {
  return JSON.stringify([...backends]);
}

function contentOf(nodes: TrafficTable['nodes']): string {
  return Array.from(nodes.values(), ({ name, addresses, state }) =>
    [name, ...addresses.map(({ text }) => text), state].join(' '),
  ).join('\n');
}
