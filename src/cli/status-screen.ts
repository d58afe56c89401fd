import { leftWords } from '../core/ip/range.ts';
import { portList } from '../core/status/sentences.ts';
import { nodeCountWords } from '../core/status/node-states.ts';
import type { HaproxyStatus, HostStatus, ServiceLine } from '../daemon/host-status.ts';
import type { PoolStatus } from '../daemon/pool-status.ts';
import type { Traffic } from '../daemon/traffic.ts';
import { named } from './check/finding.ts';
import { formatDuration } from './figures.ts';
import { formatNodes } from './node-table.ts';
import type { Tone } from './paint.ts';
import { formatHead, type HeadLine, layoutOf, type TextScreen } from './screen.ts';
import { type Cell, type Column, formatTable } from './table.ts';
import { bytesCells, countCells } from './traffic-cells.ts';

const serviceColumns: readonly Column[] = [
  { title: 'SERVICE' },
  { title: 'STATUS' },
  { title: 'ADDRESS' },
  { title: 'PORTS' },
  { title: 'CONN', align: 'right' },
  { title: 'TOTAL', align: 'right' },
  { title: 'IN/OUT', align: 'right' },
  { title: 'IN/OUT PER S', align: 'right' },
  { title: 'AGE' },
  { title: 'DETAIL' },
];

/** The screen of `furiwake status`. */
export function formatStatus(status: HostStatus, screen: TextScreen): string {
  const { at, services, otherServices, nodes, nodeStates, unusedNodes, haproxy } = status;
  const absent = (what: string): string =>
    nodeStates === undefined ? `The ${what} are not known.\n` : `No ${what}.\n`;
  const layout = layoutOf(screen);
  const serviceRows = services.map((line): readonly Cell[] => [
    line.service,
    { text: line.status, tone: serviceTones[line.status] },
    line.addresses.join(',') || '-',
    portCell(line.ports),
    ...countCells(line.traffic),
    ...bytesCells(line.traffic),
    formatDuration(line.ageSeconds),
    line.message,
  ]);
  return [
    formatHead(headOf(status), layout),
    (serviceRows.length === 0 ? absent('Services') : formatTable(serviceColumns, serviceRows, layout)) +
      otherServicesLine(otherServices),
    nodes.length + unusedNodes.length === 0 ? absent('nodes') : formatNodes(nodes, unusedNodes, at, screen),
    ...(haproxy === undefined ? [] : [totalsLine(haproxy, services)]),
  ].join('\n');
}

export const serviceTones: Readonly<Record<ServiceLine['status'], Tone>> = {
  Serving: 'good',
  'Partly served': 'warning',
  Pending: 'warning',
  Drained: 'warning',
  'No endpoints': 'bad',
  'No nodes': 'bad',
  'Not served': 'bad',
  'Not ours': 'plain',
};

function otherServicesLine(count: number): string {
  if (count === 0) return '';
  const [services, are] = count === 1 ? ['Service', 'is'] : ['Services', 'are'];
  return `${count} ${services} of another class or namespace ${are} not shown.\n`;
}

/** Both tables have totals, which differ, also between the dataplanes of `lines`. */
export function totalsLine(
  { upSeconds }: HaproxyStatus,
  lines: readonly { readonly traffic: Traffic | undefined }[],
): string {
  const isPastHaproxy = lines.some(({ traffic }) => traffic?.packetsIn !== undefined);
  const [since, flows] = isPastHaproxy
    ? [
        '; for nat and direct, from when they began to serve the port',
        'CONN of nat and direct: flows that began within the time after the slash.\n',
      ]
    : ['', ''];
  return `TOTAL counts from the start or last reload of HAProxy, ${formatDuration(upSeconds)} ago${since}. That of a node includes retries.\n${flows}`;
}

const longestPorts = 32;

/** `80/TCP,443/TCP,8000-8099/TCP`, cut between ports. */
function portCell(ports: ServiceLine['ports']): string {
  const text =
    [...Map.groupBy(ports, ({ protocol }) => protocol)]
      .flatMap(([protocol, group]) =>
        portList(group.map(({ port }) => port))
          .split(', ')
          .map((range) => `${range}/${protocol}`),
      )
      .join(',') || '-';
  return text.length <= longestPorts ? text : `${text.slice(0, text.lastIndexOf(',', longestPorts - 1))},…`;
}

function headOf(status: HostStatus): readonly HeadLine[] {
  const { version, pid, upSeconds, loadBalancerClass, cluster, pool, nodeStates } = status;
  return [
    ['furiwake', `${version}, PID ${pid}, up ${formatDuration(upSeconds)}, class ${loadBalancerClass}`, 'plain'],
    readyLine(status),
    cluster === undefined
      ? ['cluster', 'not connected yet', 'warning']
      : ['cluster', `${cluster.server} (${cluster.kubernetes})`, 'plain'],
    haproxyLine(status),
    ['pool', pool === undefined ? 'not known' : poolWords(pool), 'plain'],
    ['nodes', nodeStates === undefined ? 'not known' : nodeCountWords(nodeStates), 'plain'],
  ];
}

function readyLine({ notReady }: HostStatus): HeadLine {
  return notReady.length === 0 ? ['status', 'ready', 'good'] : ['status', `not ready: ${notReady.join('; ')}`, 'bad'];
}

function haproxyLine({ haproxy, haproxyTrouble }: HostStatus): HeadLine {
  if (haproxy === undefined) return ['HAProxy', haproxyTrouble ?? '', 'bad'];
  const { version, pid, connections, maxConnections, oldWorkers, oldConnections } = haproxy;
  const workers = oldWorkers === 1 ? 'replaced worker has' : 'replaced workers have';
  const old = oldWorkers === 0 ? '' : `; ${oldWorkers} ${workers} ${oldConnections} more`;
  return ['HAProxy', `${version}, PID ${pid}, ${connections} of at most ${maxConnections} connections${old}`, 'plain'];
}

function poolWords({ ranges, size, used, left, leftOut, isOwn }: PoolStatus): string {
  const words = isOwn
    ? `${ranges.join(', ')} (this host's own, which Services share by port)`
    : `${used} of ${size} addresses used, ${leftWords(left)} (${ranges.join(', ') || 'none'})`;
  if (leftOut.length === 0) return words;
  return `${words}; excluded: ${named(leftOut.map(({ address, reason }) => `${address} (${reason})`))}`;
}
