import type { Paint, Tone } from './paint.ts';
import { printable, wrap } from './terminal-text.ts';

export type Column = { readonly title: string; readonly align?: 'right' };
/** ASCII, but for the last one of a row. */
export type Cell = string | { readonly text: string; readonly tone: Tone };

const gap = '  ';
/** A narrower last column is hard to read. */
const leastLastColumn = 30;
const indent = 4;

/**
 * Columns two blanks apart, as wide as their longest cell. On a terminal of `width` columns a long last cell is wrapped
 * within its column, or stands below its row where that is too narrow.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  { paint, width }: { readonly paint: Paint; readonly width: number | undefined },
): string {
  const texts = [columns.map(({ title }) => title), ...rows.map((row) => row.map((cell) => printable(textOf(cell))))];
  const widths = columns.map((_, column) => texts.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0));
  const last = columns.length - 1;
  const start = widths.slice(0, last).reduce((sum, each) => sum + each + gap.length, 0);
  const isBelow = width !== undefined && start + (widths[last] ?? 0) > width && width - start < leastLastColumn;

  const lineOf = (row: readonly string[], tones: readonly Tone[]): string => {
    const cells = row.slice(0, last).map((text, column) => {
      const blanks = ' '.repeat((widths[column] ?? 0) - text.length);
      const painted = paint(text, tones[column] ?? 'plain');
      return columns[column]?.align === 'right' ? `${blanks}${painted}` : `${painted}${blanks}`;
    });
    const text = row[last] ?? '';
    const tone = tones[last] ?? 'plain';
    if (columns[last]?.align === 'right') return [...cells, paint(text.padStart(widths[last] ?? 0), tone)].join(gap);
    if (!isBelow) return trimmed([...cells, paint(wrap(text, width, start), tone)].join(gap));
    const rest =
      text === '' || tone === 'heading' ? '' : `\n${' '.repeat(indent)}${paint(wrap(text, width, indent), tone)}`;
    return `${trimmed(cells.join(gap))}${rest}`;
  };
  return texts
    .map((row, index) => lineOf(row, index === 0 ? columns.map(() => 'heading') : (rows[index - 1] ?? []).map(toneOf)))
    .map((line) => `${line}\n`)
    .join('');
}

function trimmed(line: string): string {
  return line.replaceAll(/ +(?=\n|$)/g, '');
}

function textOf(cell: Cell): string {
  return typeof cell === 'string' ? cell : cell.text;
}

function toneOf(cell: Cell): Tone {
  return typeof cell === 'string' ? 'plain' : cell.tone;
}
