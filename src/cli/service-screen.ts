import type { EndpointLine, ListenerLine, ServiceDetail } from '../daemon/service-detail.ts';
import { formatDuration, formatFigure } from './figures.ts';
import { formatNodes } from './node-table.ts';
import { formatHead, type HeadLine, layoutOf, type TextScreen } from './screen.ts';
import { serviceTones, totalsLine } from './status-screen.ts';
import { type Cell, type Column, formatTable } from './table.ts';
import { bytesCells, countCells, packetCells } from './traffic-cells.ts';

const columns: readonly Column[] = [
  { title: 'LISTENER' },
  { title: 'DATAPLANE' },
  { title: 'NODEPORT', align: 'right' },
  { title: 'CLIENTS' },
  { title: 'CONN', align: 'right' },
  { title: 'TOTAL', align: 'right' },
  { title: 'PER S', align: 'right' },
  { title: 'IN/OUT', align: 'right' },
  { title: 'IN/OUT PER S', align: 'right' },
  { title: 'PACKETS', align: 'right' },
  { title: 'REFUSED', align: 'right' },
];

/** The screen of `furiwake status NS/NAME`. */
export function formatService(detail: ServiceDetail, screen: TextScreen): string {
  const { at, listeners, nodes, haproxy } = detail;
  const layout = layoutOf(screen);
  return [
    formatHead(headOf(detail), layout),
    listeners.length === 0 ? 'No listeners.\n' : formatTable(columns, listeners.map(rowOf), layout),
    ...(nodes.length === 0 ? [] : [formatNodes(nodes, [], at, screen)]),
    ...(haproxy === undefined ? [] : [totalsLine(haproxy, listeners)]),
  ].join('\n');
}

function headOf({ service, notReady, haproxyTrouble, endpoints }: ServiceDetail): readonly HeadLine[] {
  const { status, reason, message, ageSeconds } = service;
  const words = `${status}${reason === status ? '' : ` (${reason})`}${message === '' ? '' : `: ${message}`}`;
  return [
    ['Service', `${service.service}, created ${formatDuration(ageSeconds)} ago`, 'plain'],
    ['status', words, serviceTones[status]],
    ...(endpoints === undefined ? [] : [['nodes', endpointWords(endpoints), 'plain'] satisfies HeadLine]),
    ...notReady.map((why): HeadLine => ['furiwake', `not ready: ${why}`, 'bad']),
    ...(haproxyTrouble === undefined ? [] : [['HAProxy', haproxyTrouble, 'bad'] satisfies HeadLine]),
  ];
}

/** `2 with endpoints: n1 (2), n3 (1, terminating)`; each node once, although it may have endpoints of both families. */
function endpointWords(endpoints: NonNullable<ServiceDetail['endpoints']>): string {
  const words = Array.from(
    Map.groupBy(endpoints, ({ node }) => node),
    ([node, lines]) => `${node} (${[lines[0]?.weight, ...stateWords(lines)].join(', ')})`,
  ).sort();
  return words.length === 0 ? 'none with endpoints' : `${words.length} with endpoints: ${words.join(', ')}`;
}

/** Of one node. A family that it cannot be reached in is named if it can be in the other. */
function stateWords(lines: readonly EndpointLine[]): readonly string[] {
  const unreached = lines.filter(({ state }) => state === 'unreached');
  const [first] = lines;
  if (unreached.length === 0) return first === undefined || first.state === 'taking' ? [] : [first.state];
  const isWhole = unreached.length === lines.length;
  const words = unreached.map(
    ({ family, why = '' }) => `direct sends no new flows${isWhole ? '' : ` of IPv${family}`} to it: ${why}`,
  );
  return [...new Set(words)];
}

function rowOf({
  address,
  port,
  protocol,
  dataplane,
  cause,
  stoodInBy,
  nodePort,
  sourceRanges,
  traffic,
}: ListenerLine): readonly Cell[] {
  return [
    `${address.includes(':') ? `[${address}]` : address}:${port}/${protocol}`,
    `${stoodInBy === undefined ? '' : `${stoodInBy} for `}${dataplane}${cause === undefined ? '' : ` (${cause})`}`,
    nodePort === undefined ? '-' : String(nodePort),
    sourceRanges === undefined ? 'all' : `${sourceRanges} ${sourceRanges === 1 ? 'range' : 'ranges'}`,
    ...countCells(traffic),
    traffic?.rates === undefined ? '-' : formatFigure(traffic.rates.connections),
    ...bytesCells(traffic),
    ...packetCells(traffic),
  ];
}
