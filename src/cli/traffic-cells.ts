import type { Traffic } from '../daemon/traffic.ts';
import type { RecentFlows } from '../daemon/recent-flows.ts';
import { formatDuration, formatFigure } from './figures.ts';

/**
 * CONN and TOTAL. Only HAProxy counts open connections: `0` would be wrong where packets go past it. There the flows that began in the
 * last five minutes are shown, `25/5m`, or as far as they are known.
 */
export function countCells(traffic: Traffic | undefined): readonly string[] {
  const isUncounted = traffic?.connections === 0 && (traffic.packetsIn ?? 0) > 0;
  const open = isUncounted ? undefined : traffic?.connections;
  const isPast = open === undefined || (open === 0 && traffic?.recent !== undefined);
  return [isPast ? recentCell(traffic?.recent) : countCell(open), figureCell(traffic?.total)];
}

/** IN/OUT, and the same per second. */
export function bytesCells(traffic: Traffic | undefined): readonly string[] {
  return [traffic, traffic?.rates].map((bytes) =>
    bytes === undefined ? '-' : `${figureCell(bytes.bytesIn)}/${figureCell(bytes.bytesOut)}`,
  );
}

/** PACKETS from and to the clients, and those that are REFUSED. */
export function packetCells(traffic: Traffic | undefined): readonly string[] {
  const packets =
    traffic?.packetsIn === undefined ? '-' : `${figureCell(traffic.packetsIn)}/${figureCell(traffic.packetsOut)}`;
  return [packets, figureCell(traffic?.refused)];
}

function recentCell(recent: RecentFlows | undefined): string {
  return recent === undefined ? '-' : `${formatFigure(recent.flows)}/${formatDuration(recent.seconds)}`;
}

function countCell(count: number | undefined): string {
  return count === undefined ? '-' : String(count);
}

/** A figure that is not counted is `-`. */
function figureCell(figure: number | undefined): string {
  return figure === undefined ? '-' : formatFigure(figure);
}
