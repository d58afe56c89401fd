import type { NodeLine, UnusedNode } from '../daemon/host-status.ts';
import { formatFigure, formatTime } from './figures.ts';
import type { Tone } from './paint.ts';
import { layoutOf, type TextScreen } from './screen.ts';
import { type Cell, type Column, formatTable } from './table.ts';

const columns: readonly Column[] = [
  { title: 'NODE' },
  { title: 'ADDRESS' },
  { title: 'STATUS' },
  { title: 'CONN', align: 'right' },
  { title: 'TOTAL', align: 'right' },
  { title: 'DETAIL' },
];

const tones: Readonly<Record<NodeLine['state'], Tone>> = {
  up: 'good',
  drain: 'warning',
  unhealthy: 'bad',
  silent: 'bad',
};

/** The table of nodes. `at`: time of the answer. */
export function formatNodes(
  nodes: readonly NodeLine[],
  unusedNodes: readonly UnusedNode[],
  at: string,
  screen: TextScreen,
): string {
  const rows = [
    ...nodes.map((line): readonly Cell[] => [
      line.node,
      line.address,
      {
        text: statusOf(line, (instant) => formatTime(instant, at, screen.timeZone)),
        tone: tones[line.health === 'up' ? line.state : line.health],
      },
      String(line.connections),
      formatFigure(line.total),
      line.uncounted.length === 0 ? '' : `flows of ${line.uncounted.join(' and ')} also continue, and are not counted`,
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
  return formatTable(columns, rows, layoutOf(screen));
}

/** `up`, `silent since 08:33:20`, `drained since 08:33:20`, or `silent since 08:33:20, drained since 08:30:00`. */
function statusOf(
  { state, since, health, healthSince, connections, uncounted }: NodeLine,
  timeOf: (instant: string) => string,
): string {
  const from = (instant: string | undefined): string => (instant === undefined ? '' : ` since ${timeOf(instant)}`);
  const own = health === 'up' ? 'up' : `${health}${from(healthSince)}`;
  if (state !== 'drain') return own;
  const drain = `${connections + uncounted.length === 0 ? 'drained' : 'draining'}${from(since)}`;
  const left = connections === 0 ? '' : ` (${connections} left)`;
  return `${health === 'up' ? '' : `${own}, `}${drain}${left}`;
}
