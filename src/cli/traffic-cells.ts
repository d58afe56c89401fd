import type { Traffic } from '../daemon/traffic.ts';
import { formatFigure } from './figures.ts';

/** CONN and TOTAL. */
export function countCells(traffic: Traffic | undefined): readonly string[] {
  return traffic === undefined ? ['-', '-'] : [String(traffic.connections), formatFigure(traffic.total)];
}

/** IN/OUT, and the same per second. */
export function bytesCells(traffic: Traffic | undefined): readonly string[] {
  return [traffic, traffic?.rates].map((bytes) =>
    bytes === undefined ? '-' : `${formatFigure(bytes.bytesIn)}/${formatFigure(bytes.bytesOut)}`,
  );
}
