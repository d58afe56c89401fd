import type { Assignment } from '../addresses/assignment.ts';
import { exact } from '../exact.ts';
import { conditionTypes, ownFinalizer } from '../model/contract.ts';
import type { ListenerKey, NodeName, ServiceKey } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import type { Service } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import { chooseDataplane, requestedDataplane } from './dataplane.ts';
import { listenersOf, planSourceRanges } from './source-ranges.ts';
import {
  emptyTable,
  type Listener,
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
};

/**
 * Plans the table of one host. As good as pure: what a planner remembers of its last table saves work and never changes the
 * result. The listeners of a Service stay the same objects while its spec and assignment do, and for `direct` its published
 * addresses.
 */
export function makeTrafficPlanner(): (input: TrafficInput) => TrafficTable {
  const planNodes = makeNodesPlanner();
  let last: Pick<TrafficInput, 'services' | 'assignments' | 'overBudget'> = {
    services: PersistentMap.empty(),
    assignments: PersistentMap.empty(),
    overBudget: new Set(),
  };
  let byService = PersistentMap.empty<ServiceKey, readonly Listener[]>();
  let listeners: TrafficTable['listeners'] = emptyTable.listeners;
  let table = emptyTable;

  /** `undefined` if there are none. */
  const listenersOfService = (key: ServiceKey, input: TrafficInput): readonly Listener[] | undefined => {
    const service = input.services.get(key);
    const assignment = input.assignments.get(key);
    if (service === undefined || assignment === undefined || !hasHadFinalizer(service)) return undefined;
    const before = last.services.get(key);
    const isSame =
      before?.spec === service.spec &&
      last.assignments.get(key) === assignment &&
      last.overBudget.has(key) === input.overBudget.has(key) &&
      publishedVips(before).join() === publishedVips(service).join();
    const known = isSame ? byService.get(key) : undefined;
    return known ?? planListeners(service, assignment, input.overBudget.has(key));
  };

  return (input) => {
    const before = byService;
    const changed = new Set([
      ...PersistentMap.changedKeys(last.services, input.services),
      ...PersistentMap.changedKeys(last.assignments, input.assignments),
      ...(last.overBudget === input.overBudget ? [] : [...last.overBudget, ...input.overBudget]),
    ]);
    byService = byService.with(Array.from(changed, (key) => [key, listenersOfService(key, input)]));
    const { services, assignments, overBudget } = input;
    last = { services, assignments, overBudget };
    const changes = new Map<ListenerKey, Listener | undefined>();
    for (const service of changed) for (const { key } of before.get(service) ?? []) changes.set(key, undefined);
    for (const service of changed)
      for (const listener of byService.get(service) ?? []) changes.set(listener.key, listener);
    listeners = listeners.with(changes);
    const { nodes, backends } = planNodes(input.nodes, input.drained);
    if (table.listeners !== listeners || table.nodes !== nodes || table.backends !== backends)
      table = { listeners, backends, nodes };
    return table;
  };
}

/** `undefined` if there are none. */
function planListeners(
  service: Service,
  assignment: Assignment,
  isOverBudget: boolean,
): readonly Listener[] | undefined {
  const { key, spec } = service;
  const vips = publishedVips(service);
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
        backend: nodesBackend(ip.family),
        targetPort: isDirect ? 0 : port.nodePort,
        sourceRanges: ranges?.filter((range) => range.family === ip.family),
        isHostAddress: assignment.isHostAddress,
      });
    }),
  );
  return planned.length === 0 ? undefined : exact(planned);
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
      backends:
        JSON.stringify([...planned.backends]) === JSON.stringify([...next.backends]) ? planned.backends : next.backends,
    };
    return planned;
  };
}

function contentOf(nodes: TrafficTable['nodes']): string {
  return Array.from(nodes.values(), ({ name, addresses, state }) =>
    [name, ...addresses.map(({ text }) => text), state].join(' '),
  ).join('\n');
}
