import type { Assignment } from '../addresses/plan.ts';
import type { Family, Ip } from '../ip/ip.ts';
import { exact } from '../exact.ts';
import { type IpRange, mergeRanges, parseCidr, rangeOf } from '../ip/range.ts';
import { parseIp } from '../ip/ip.ts';
import type { ListenerKey, NodeName, ServiceKey } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import type { Service } from '../model/service.ts';
import { listenerKey, type Row, type Server, type TrafficTable } from './table.ts';

export type TrafficInput = {
  /** Services whose listeners may exist: ours, not being deleted, our finalizer in place. */
  readonly services: readonly Service[];
  readonly assignments: ReadonlyMap<ServiceKey, Assignment>;
  readonly nodes: ReadonlyMap<NodeName, Node>;
  /** Nodes that an administrator drains (`furiwake drain NODE`). */
  readonly drained: ReadonlySet<NodeName>;
};

let last: { readonly input: TrafficInput; readonly table: TrafficTable } | undefined;

/**
 * The table for one host. Pure; the rows of a Service keep their identity as long as spec and assignment do, and the
 * table does while all of it stays.
 */
export function planTraffic(input: TrafficInput): TrafficTable {
  const table = last !== undefined && isSameInput(last.input, input) ? last.table : makeTable(input);
  last = { input, table };
  return table;
}

function isSameInput(before: TrafficInput, { services, assignments, nodes, drained }: TrafficInput): boolean {
  if (assignments !== before.assignments || nodes !== before.nodes || drained !== before.drained) return false;
  return (
    services.length === before.services.length &&
    services.every((service, index) => {
      const old = before.services[index];
      return service === old || (service.spec === old?.spec && service.key === old.key);
    })
  );
}

function makeTable(input: TrafficInput): TrafficTable {
  const rows = new Map<ListenerKey, Row>();
  const hosted = new Map<string, Ip>();
  for (const service of input.services) {
    const assignment = input.assignments.get(service.key);
    if (assignment === undefined) continue;
    for (const row of rowsOf(service, assignment)) {
      rows.set(row.key, row);
      hosted.set(row.address.text, row.address);
    }
  }
  return { rows, nodes: planNodes(input.nodes, input.drained), hosted: [...hosted.values()] };
}

const memo = new WeakMap<Assignment, { readonly spec: Service['spec']; readonly rows: readonly Row[] }>();

function rowsOf(service: Service, assignment: Assignment): readonly Row[] {
  const known = memo.get(assignment);
  if (known !== undefined && known.spec === service.spec) return known.rows;
  const ranges = decodeSourceRanges(service.spec.sourceRanges).ranges;
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
  memo.set(assignment, { spec: service.spec, rows: exact(rows) });
  return rows;
}

/**
 * `loadBalancerSourceRanges`, merged; `undefined` when there are none: open to all. An entry that is no CIDR lets nobody
 * in, and a family without an entry is closed: a Service that is restricted is never open by mistake.
 */
export function decodeSourceRanges(texts: readonly string[]): {
  readonly ranges: readonly IpRange[] | undefined;
  readonly malformed: readonly string[];
} {
  if (texts.length === 0) return { ranges: undefined, malformed: [] };
  const ranges: IpRange[] = [];
  const malformed: string[] = [];
  for (const text of texts) {
    const ip = parseIp(text.trim());
    const range = ip === undefined ? parseCidr(text.trim()) : rangeOf(ip);
    if (range === undefined) malformed.push(text);
    else ranges.push(range);
  }
  return { ranges: mergeRanges(ranges), malformed };
}

let lastNodes:
  | {
      readonly nodes: ReadonlyMap<NodeName, Node>;
      readonly drained: ReadonlySet<NodeName>;
      readonly planned: TrafficTable['nodes'];
    }
  | undefined;

/** Excluded nodes are left out: the data plane drains a server before it removes it. Memoised by identity. */
function planNodes(nodes: ReadonlyMap<NodeName, Node>, drained: ReadonlySet<NodeName>): TrafficTable['nodes'] {
  if (lastNodes?.nodes === nodes && lastNodes.drained === drained) return lastNodes.planned;
  const planned = { 4: serversOf(4, nodes, drained), 6: serversOf(6, nodes, drained) };
  lastNodes = { nodes, drained, planned };
  return planned;
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
