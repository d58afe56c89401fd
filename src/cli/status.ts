import { askAdmin } from '../daemon/admin.ts';
import { portList } from '../core/status/sentences.ts';
import { nodeCountWords } from '../core/status/node-states.ts';
import type { HaproxyStatus, HostStatus, NodeLine, PoolStatus, ServiceLine } from '../daemon/host-status.ts';
import { statePaths } from '../daemon/platform.ts';
import { makePaint, type Paint, type Tone } from './paint.ts';
import { type Cell, type Column, formatTable } from './table.ts';
import { printable, wrap } from './terminal-text.ts';

export type StatusScreen = {
  readonly isColoured: boolean;
  /** Width of the terminal; `undefined` where the text goes to a file or a pipe: then nothing is wrapped. */
  readonly columns: number | undefined;
};

/** `furiwake status`: what furiwake serves on this host, as text or as the JSON of its admin socket. */
export async function showStatus(
  stateDir: string,
  isJson: boolean,
  screen: StatusScreen,
  signal: AbortSignal,
): Promise<string> {
  const text = await askAdmin(statePaths(stateDir).adminSocket, 'GET', '/status', '', signal);
  return isJson ? text : formatStatus(JSON.parse(text) as HostStatus, screen);
}

/** `furiwake drain NODE` and `undrain NODE`: what furiwake answers. */
export async function changeDrain(
  stateDir: string,
  verb: 'drain' | 'undrain',
  node: string,
  signal: AbortSignal,
): Promise<string> {
  return askAdmin(statePaths(stateDir).adminSocket, 'POST', `/${verb}`, node, signal);
}

const serviceColumns: readonly Column[] = [
  { title: 'SERVICE' },
  { title: 'STATUS' },
  { title: 'ADDRESS' },
  { title: 'PORTS' },
  { title: 'CONN', align: 'right' },
  { title: 'TOTAL', align: 'right' },
  { title: 'AGE' },
  { title: 'DETAIL' },
];
const nodeColumns: readonly Column[] = [
  { title: 'NODE' },
  { title: 'ADDRESS' },
  { title: 'STATUS' },
  { title: 'CONN', align: 'right' },
  { title: 'TOTAL', align: 'right' },
  { title: 'DETAIL' },
];

/** The screen of `furiwake status`. */
export function formatStatus(status: HostStatus, { isColoured, columns }: StatusScreen): string {
  const { services, otherServices, nodes, nodeStates, unusedNodes, haproxy } = status;
  const absent = (what: string): string =>
    nodeStates === undefined ? `The ${what} are not known.\n` : `No ${what}.\n`;
  const layout = { paint: makePaint(isColoured), width: columns };
  const serviceRows = services.map((line): readonly Cell[] => [
    line.service,
    { text: line.status, tone: serviceTones[line.status] },
    line.addresses.join(',') || '-',
    portCell(line.ports),
    String(line.connections),
    String(line.total),
    formatDuration(line.ageSeconds),
    line.message,
  ]);
  const nodeRows = [
    ...nodes.map((line): readonly Cell[] => [
      line.node,
      line.address,
      { text: nodeStatus(line), tone: nodeTones[line.health === 'up' ? line.state : line.health] },
      String(line.connections),
      String(line.total),
      '',
    ]),
    ...unusedNodes.map(({ node, addresses, state, reason }): readonly Cell[] => [
      node,
      addresses.join(',') || '-',
      { text: state, tone: 'warning' },
      '-',
      '-',
      reason,
    ]),
  ];
  return [
    headOf(status, layout),
    (serviceRows.length === 0 ? absent('Services') : formatTable(serviceColumns, serviceRows, layout)) +
      otherServicesLine(otherServices),
    nodeRows.length === 0 ? absent('nodes') : formatTable(nodeColumns, nodeRows, layout),
    ...(haproxy === undefined ? [] : [totalsLine(haproxy)]),
  ].join('\n');
}

const serviceTones: Readonly<Record<ServiceLine['status'], Tone>> = {
  Serving: 'good',
  'Partly served': 'warning',
  Pending: 'warning',
  'No endpoints': 'bad',
  'No nodes': 'bad',
  'Not served': 'bad',
  'Not ours': 'plain',
};
const nodeTones: Readonly<Record<NodeLine['state'], Tone>> = {
  up: 'good',
  drain: 'warning',
  unhealthy: 'bad',
  silent: 'bad',
};

function otherServicesLine(count: number): string {
  if (count === 0) return '';
  const [services, are] = count === 1 ? ['Service', 'is'] : ['Services', 'are'];
  return `${count} ${services} of another class or namespace ${are} not shown.\n`;
}

/** Both tables have totals, which differ. */
function totalsLine({ upSeconds }: HaproxyStatus): string {
  return `Totals count since HAProxy started ${formatDuration(upSeconds)} ago; those of nodes include retries.\n`;
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

type Line = readonly [name: string, words: string, tone: Tone];

function headOf(
  status: HostStatus,
  { paint, width }: { readonly paint: Paint; readonly width: number | undefined },
): string {
  const { version, pid, upSeconds, loadBalancerClass, cluster, notReady, haproxy, haproxyTrouble, pool, nodeStates } =
    status;
  const lines: readonly Line[] = [
    ['furiwake', `${version}, PID ${pid}, up ${formatDuration(upSeconds)}, class ${loadBalancerClass}`, 'plain'],
    notReady.length === 0 ? ['status', 'ready', 'good'] : ['status', `not ready: ${notReady.join('; ')}`, 'bad'],
    cluster === undefined
      ? ['cluster', 'not connected yet', 'warning']
      : ['cluster', `${cluster.server} (${cluster.kubernetes})`, 'plain'],
    haproxy === undefined
      ? ['HAProxy', haproxyTrouble ?? '', 'bad']
      : [
          'HAProxy',
          `${haproxy.version}, PID ${haproxy.pid}, ${haproxy.connections} of at most ${haproxy.maxConnections} connections`,
          'plain',
        ],
    ['pool', pool === undefined ? 'not known' : poolWords(pool), 'plain'],
    ['nodes', nodeStates === undefined ? 'not known' : nodeCountWords(nodeStates), 'plain'],
  ];
  return lines
    .map(([name, words, tone]) => `${name.padEnd(nameWidth)}${paint(wrap(printable(words), width, nameWidth), tone)}\n`)
    .join('');
}

const nameWidth = 10;
const mostLeftOut = 5;

function poolWords({ ranges, size, used, leftOut }: PoolStatus): string {
  const left = BigInt(size) - BigInt(used);
  const words = `${used} of ${size} addresses used, ${left === 0n ? 'none' : left} left (${ranges.join(', ') || 'none'})`;
  if (leftOut.length === 0) return words;
  const shown = leftOut.slice(0, mostLeftOut).map(({ address, reason }) => `${address} (${reason})`);
  const rest = leftOut.length > mostLeftOut ? [`and ${leftOut.length - mostLeftOut} more`] : [];
  return `${words}; excluded: ${[...shown, ...rest].join(', ')}`;
}

/** `up`, `silent for 5s`, `drained for 3s`, or `silent for 5s, drained for 3s`. */
function nodeStatus({ state, forSeconds, health, healthForSeconds, connections }: NodeLine): string {
  const since = (seconds: number | undefined): string =>
    seconds === undefined ? '' : ` for ${formatDuration(seconds)}`;
  const own = `${health}${since(healthForSeconds)}`;
  if (state !== 'drain') return own;
  const drain = `${connections === 0 ? 'drained' : 'draining'}${since(forSeconds)}`;
  const left = connections === 0 ? '' : ` (${connections} left)`;
  return `${health === 'up' ? '' : `${own}, `}${drain}${left}`;
}

/** As kubectl shows ages: the largest unit, or two where the first is small. */
export function formatDuration(seconds: number): string {
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600), Math.floor(seconds / 60)];
  if (days >= 8) return `${days}d`;
  if (days >= 2) return hours % 24 === 0 ? `${days}d` : `${days}d${hours % 24}h`;
  if (hours >= 8) return `${hours}h`;
  if (hours >= 3) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`;
  if (minutes >= 10) return `${minutes}m`;
  if (minutes >= 2) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  return `${seconds}s`;
}
