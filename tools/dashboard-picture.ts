import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { dashboardFile, layoutOf, type Place, renderDashboard } from './dashboard.ts';
import { type Panel, type Query, rows } from './dashboard-panels.ts';
import { type DashboardRecord, recordFile } from './dashboard-record.ts';

/*
 * `npm run docs:dashboard`: writes the dashboard, and draws it as Grafana shows it, from recorded metrics.
 */

type Points = readonly (number | undefined)[];
type Line = { readonly name: string; readonly points: Points };

/** The lines of a query, as Prometheus evaluates it; without histograms. */
export function linesOf(
  { metric, as, where = {}, by, legend, isAbsentAtZero }: Query,
  record: DashboardRecord,
): readonly Line[] {
  const groups = new Map<string, Points>();
  for (const [series, values] of Object.entries(record.series)) {
    const [, name, text = ''] = /^(\w+)(?:\{(.*)\})?$/.exec(series) ?? [];
    const labels = new Map(
      Array.from(text.matchAll(/(\w+)="([^"]*)"/g), ([, label = '', value = '']) => [label, value]),
    );
    if (name !== metric || Object.entries(where).some(([label, value]) => labels.get(label) !== value)) continue;
    const shown = legend.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) =>
      by.includes(label) ? (labels.get(label) ?? '') : '',
    );
    const points = as === 'rate' ? ratesOf(values, record.intervalSeconds) : values.map((value) => value ?? undefined);
    const others = groups.get(shown);
    groups.set(
      shown,
      points.map((point, index) => plus(point, others?.[index])),
    );
  }
  if (groups.size === 0 && isAbsentAtZero === true) return [{ name: legend, points: [0] }];
  return Array.from(groups, ([name, points]) => ({ name, points }));
}

/** Increases per second over a minute, as Grafana's `$__rate_interval` at a usual scrape interval of 15 s. */
function ratesOf(values: readonly (number | null)[], intervalSeconds: number): Points {
  const steps = Math.round(60 / intervalSeconds);
  return values.map((now, index) => {
    const from = Math.max(0, index - steps);
    const before = values[from];
    if (now === null || before === null || before === undefined || index === from) return undefined;
    return Math.max(0, now - before) / ((index - from) * intervalSeconds);
  });
}

function plus(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : a + (b ?? 0);
}

function mostOf(points: Points): number {
  return Math.max(0, ...points.filter((point) => point !== undefined));
}

const unitPx = { x: 50, y: 26 } as const;
const gap = 6;
const colours = ['#73bf69', '#f2cc0c', '#5794f2', '#ff9830', '#b877d9', '#f2495c', '#8ab8ff'];
const suffixes = { short: '', cps: '/s', pps: ' p/s', Bps: ' B/s', s: ' s' } as const;

/** The greatest line first: the legend may be cut. */
function linesOfPanel({ queries }: Panel, record: DashboardRecord): readonly Line[] {
  return queries.flatMap((query) => linesOf(query, record)).sort((a, b) => mostOf(b.points) - mostOf(a.points));
}

/** The dashboard as SVG: the rows whose panels the record has. */
export function drawDashboard(record: DashboardRecord): string {
  const drawn = layoutOf(
    rows.filter(({ panels }) => panels.every(({ queries }) => queries.every(({ as }) => as !== 'p95'))),
  );
  // the same name has the same colour in all panels
  const all = drawn.flatMap(({ panels }) => panels.flatMap(([panel]) => linesOfPanel(panel, record)));
  const names = [...new Set(all.map(({ name }) => name))];
  const colourOf = (name: string): string => colours[names.indexOf(name) % colours.length] ?? '';
  const parts = drawn.flatMap(({ row, place, panels }) => [
    `<text x="${gap}" y="${place.y * unitPx.y + 18}" class="row">${escapeXml(row.title)}</text>`,
    ...panels.map(([panel, at]) => drawPanel(panel, at, linesOfPanel(panel, record), colourOf)),
  ]);
  const bottom = Math.max(...drawn.flatMap(({ panels }) => panels.map(([, { y, h }]) => y + h)));
  const [width, height] = [24 * unitPx.x, bottom * unitPx.y + gap];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11" fill="#ccccdc">`,
    '<style>.row { font-size: 14px; font-weight: bold } .title { font-size: 12px } .figure { font-size: 34px; font-weight: bold; text-anchor: middle } .axis { fill: #8e8e99; text-anchor: end } polyline { fill: none; stroke-width: 1.5 }</style>',
    `<rect width="${width}" height="${height}" fill="#111217"/>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

type Canvas = { readonly width: number; readonly height: number; readonly colourOf: (name: string) => string };

function drawPanel(panel: Panel, { x, y, w, h }: Place, lines: readonly Line[], colourOf: Canvas['colourOf']): string {
  const canvas = { width: w * unitPx.x - gap, height: h * unitPx.y - gap, colourOf };
  return [
    `<g transform="translate(${x * unitPx.x + gap / 2} ${y * unitPx.y + gap / 2})">`,
    `<rect width="${canvas.width}" height="${canvas.height}" rx="2" fill="#181b1f" stroke="#2c3235"/>`,
    `<text x="8" y="17" class="title">${escapeXml(panel.title)}</text>`,
    panel.kind === 'stat' ? drawFigure(panel, lines, canvas) : drawLines(panel, lines, canvas),
    '</g>',
  ].join('\n');
}

function drawFigure({ bad }: Panel, lines: readonly Line[], { width, height }: Canvas): string {
  const value = lines[0]?.points.findLast((point) => point !== undefined);
  const isBad = bad !== undefined && value !== undefined && ('below' in bad ? value < bad.below : value >= bad.from);
  const text = value === undefined ? 'No data' : formatValue(value);
  return `<text x="${width / 2}" y="${height / 2 + 20}" class="figure" fill="${isBad ? '#f2495c' : '#73bf69'}">${text}</text>`;
}

function drawLines({ unit }: Panel, lines: readonly Line[], { width, height, colourOf }: Canvas): string {
  const [left, top, right, bottom] = [62, 28, width - 10, height - 26];
  const most = niceMost(Math.max(0, ...lines.map(({ points }) => mostOf(points))));
  const grid = [0, 0.5, 1].map((share) => {
    const at = bottom - share * (bottom - top);
    const label = `${formatValue(share * most)}${suffixes[unit]}`;
    return `<line x1="${left}" x2="${right}" y1="${at}" y2="${at}" stroke="#2c3235"/><text x="${left - 5}" y="${at + 4}" class="axis">${label}</text>`;
  });
  const drawn = lines.map(({ name, points }) => {
    const shown = points.flatMap((point, at) => {
      if (point === undefined) return [];
      const [px, py] = [left + (at / (points.length - 1)) * (right - left), bottom - (point / most) * (bottom - top)];
      return `${px.toFixed(1)},${py.toFixed(1)}`;
    });
    return `<polyline points="${shown.join(' ')}" stroke="${colourOf(name)}"/>`;
  });
  let at = left - 50;
  const legend = lines.flatMap(({ name }) => {
    const entry = `<rect x="${at}" y="${height - 13}" width="10" height="3" fill="${colourOf(name)}"/><text x="${at + 14}" y="${height - 8}">${escapeXml(name)}</text>`;
    at += 28 + name.length * 6.4;
    return at < width ? entry : [];
  });
  return [...grid, ...drawn, ...legend].join('\n');
}

/** The least of 1, 2, 5, 10, 20 … that is not less. */
function niceMost(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5].find((step) => step * power >= value) ?? 10) * power;
}

function formatValue(value: number): string {
  const [divisor, suffix] = value >= 1e6 ? [1e6, 'M'] : value >= 1e3 ? [1e3, 'k'] : [1, ''];
  return `${Number((value / divisor).toFixed(2))}${suffix}`;
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

export const pictureFile: string = path.join(import.meta.dirname, '..', 'docs', 'dashboard.svg');

/** The recorded metrics. */
export async function readRecord(): Promise<DashboardRecord> {
  return JSON.parse(await readFile(recordFile, 'utf8')) as DashboardRecord;
}

if (import.meta.main) {
  await writeFile(dashboardFile, renderDashboard(rows));
  await writeFile(pictureFile, drawDashboard(await readRecord()));
}
