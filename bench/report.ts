import { type Bench, type Figure, isReached, type Target } from './bench.ts';

/** A benchmark's figures as aligned lines: quantity, value, target, whether it was reached. */
export function formatFigures({ name, title }: Bench, figures: readonly Figure[], hasColour: boolean): string {
  const style = (code: number, text: string): string => (hasColour ? `\u001B[${code}m${text}\u001B[0m` : text);
  const rows = figures.map((figure) => ({
    figure,
    cells: [figure.what, `${round(figure.value)} ${figure.unit}`.trimEnd(), formatTarget(figure.target)] as const,
  }));
  const width = (column: 0 | 1 | 2): number => Math.max(...rows.map(({ cells }) => cells[column].length));
  const lines = rows.map(({ figure, cells: [what, value, target] }) => {
    const reached = isReached(figure);
    const mark = reached === undefined ? '' : reached ? style(32, '✓') : style(31, '✗ not reached');
    return `  ${what.padEnd(width(0))}  ${value.padStart(width(1))}  ${target.padEnd(width(2))}  ${mark}`.trimEnd();
  });
  return `\n${style(1, name)}  ${title}\n${lines.join('\n')}\n`;
}

/** The line that `--json` prints for a benchmark. */
export function jsonLine({ name }: Bench, figures: readonly Figure[]): string {
  const shown = figures.map((figure) => ({ ...figure, isReached: isReached(figure) }));
  return `${JSON.stringify({ bench: name, at: new Date().toISOString(), figures: shown })}\n`;
}

function formatTarget(target: Target | undefined): string {
  if (target === undefined) return '';
  return 'atMost' in target ? `≤ ${target.atMost}` : `≥ ${target.atLeast}`;
}

/** Three significant digits. */
function round(value: number): string {
  const digits = Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}
