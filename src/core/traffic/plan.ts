import type { Assignment } from '../addresses/assignment.ts';
import type { Family, Ip } from '../ip/ip.ts';
import { exact } from '../exact.ts';
import { ownFinalizer } from '../model/contract.ts';
import type { ListenerKey, NodeName, ServiceKey } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import type { Service } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import { listenersOf, planSourceRanges } from './source-ranges.ts';
import { emptyTable, listenerKey, type Row, type Server, type TrafficTable } from './table.ts';

export type TrafficInput = {
  /** Services that are ours; one has listeners as soon as our finalizer is in place. */
  readonly services: PersistentMap<ServiceKey, Service>;
  readonly assignments: PersistentMap<ServiceKey, Assignment>;
  readonly nodes: ReadonlyMap<NodeName, Node>;
  /** Nodes that an administrator drains (`furiwake drain NODE`). */
  readonly drained: ReadonlySet<NodeName>;
};

/**
 * Plans the table for one host. As good as pure: what a planner remembers of its last table saves work and never
 * changes the answer. The rows of a Service keep their identity as long as spec and assignment do.
 */
export function makeTrafficPlanner(): (input: TrafficInput) => TrafficTable {
  const planNodes = makeNodesPlanner();
  let last: Planned = {
    services: PersistentMap.empty(),
    assignments: PersistentMap.empty(),
    table: emptyTable,
    rowsOn: PersistentMap.empty(),
  };
  return ({ services, assignments, nodes, drained }) => {
    const byService = new Map<ServiceKey, readonly Row[] | undefined>();
    for (const key of [
      ...PersistentMap.changedKeys(last.services, services),
      ...PersistentMap.changedKeys(last.assignments, assignments),
    ])
      byService.set(key, rowsOf(services.get(key), assignments.get(key)));
    last = withRows({ ...last, services, assignments }, byService);
    const planned = planNodes(nodes, drained);
    if (planned !== last.table.nodes) last = { ...last, table: { ...last.table, nodes: planned } };
    return last.table;
  };
}

type Planned = Pick<TrafficInput, 'services' | 'assignments'> & {
  readonly table: TrafficTable;
  /** How many rows each address has. */
  readonly rowsOn: PersistentMap<string, number>;
};

/** The same with other rows for some Services. */
function withRows(before: Planned, changes: ReadonlyMap<ServiceKey, readonly Row[] | undefined>): Planned {
  const { table } = before;
  const byService = table.byService.with(changes);
  if (byService === table.byService) return before;
  const changed = new Map<ListenerKey, Row | undefined>();
  for (const key of changes.keys()) for (const row of table.byService.get(key) ?? []) changed.set(row.key, undefined);
  for (const key of changes.keys()) for (const row of byService.get(key) ?? []) changed.set(row.key, row);
  const addresses = new Map<string, Ip>();
  const counts = new Map<string, number>();
  const count = (row: Row | undefined, more: 1 | -1): void => {
    if (row === undefined) return;
    const { text } = row.address;
    addresses.set(text, row.address);
    counts.set(text, (counts.get(text) ?? before.rowsOn.get(text) ?? 0) + more);
  };
  for (const [key, row] of changed) {
    count(table.rows.get(key), -1);
    count(row, 1);
  }
  return {
    ...before,
    table: {
      ...table,
      rows: table.rows.with(changed),
      byService,
      // One that was hosted keeps its object.
      hosted: table.hosted.with(
        Array.from(addresses, ([text, ip]) => [text, counts.get(text) ? (table.hosted.get(text) ?? ip) : undefined]),
      ),
    },
    rowsOn: before.rowsOn.with(Array.from(counts, ([text, number]) => [text, number === 0 ? undefined : number])),
  };
}

const memo = new WeakMap<Assignment, { readonly spec: Service['spec']; readonly rows: readonly Row[] | undefined }>();

/** `undefined` for none. */
function rowsOf(service: Service | undefined, assignment: Assignment | undefined): readonly Row[] | undefined {
  if (service === undefined || assignment === undefined || !service.finalizers.includes(ownFinalizer)) return undefined;
  const known = memo.get(assignment);
  if (known !== undefined && known.spec === service.spec) return known.rows;
  const { ranges } = planSourceRanges(service.spec.sourceRanges, listenersOf(assignment));
  const rows = assignment.addresses.flatMap(({ ip, served }) =>
    served.map((port): Row => ({
      key: listenerKey(ip, port.port, port.protocol),
      address: ip,
      protocol: port.protocol,
      port: port.port,
      service: service.key,
      backend: { kind: 'nodes', family: ip.family, nodePort: port.nodePort },
      sourceRanges: ranges?.filter((range) => range.family === ip.family),
      maxConnections: undefined,
    })),
  );
  const kept = rows.length === 0 ? undefined : exact(rows);
  memo.set(assignment, { spec: service.spec, rows: kept });
  return kept;
}

/** Excluded nodes are left out: the data plane drains a server before it removes it. The same object for the same nodes. */
function makeNodesPlanner(): (
  nodes: ReadonlyMap<NodeName, Node>,
  drained: ReadonlySet<NodeName>,
) => TrafficTable['nodes'] {
  let last: { nodes: ReadonlyMap<NodeName, Node>; drained: ReadonlySet<NodeName> } | undefined;
  let planned = emptyTable.nodes;
  return (nodes, drained) => {
    if (last?.nodes !== nodes || last.drained !== drained)
      planned = { 4: serversOf(4, nodes, drained), 6: serversOf(6, nodes, drained) };
    last = { nodes, drained };
    return planned;
  };
}

function serversOf(
  family: Family,
  nodes: ReadonlyMap<NodeName, Node>,
  drained: ReadonlySet<NodeName>,
): readonly Server[] {
  const servers: Server[] = [];
  for (const node of nodes.values()) {
    const address = node.addresses.find((ip) => ip.family === family);
    if (address === undefined || node.excluded !== undefined) continue;
    servers.push({ node: node.name, address, state: drained.has(node.name) ? 'drain' : 'active' });
  }
  return servers.sort((a, b) => (a.node < b.node ? -1 : 1));
}
