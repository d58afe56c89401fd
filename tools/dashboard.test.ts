import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { dashboardFile, layoutOf, promQl, renderDashboard } from './dashboard.ts';
import { rows } from './dashboard-panels.ts';
import { drawDashboard, linesOf, pictureFile, readRecord } from './dashboard-picture.ts';
import { readPage, tableRows } from './page.ts';

const queries = rows.flatMap(({ panels }) => panels.flatMap((panel) => panel.queries));
const documented = new Map(
  tableRows(readPage('docs/metrics.md')).map(([name = '', kind = '', labels = '']) => [
    name,
    { kind, labels: labels.split(', ').filter((label) => label !== '') },
  ]),
);

test('each query of the dashboard is of a metric in docs/metrics.md, as its kind permits, by labels that it has', () => {
  const kinds = { value: 'gauge', rate: 'counter', p95: 'histogram' };
  for (const { metric, as, by, where = {}, legend } of queries) {
    const { kind, labels = [] } = documented.get(metric) ?? {};
    expect([metric, kind]).toEqual([metric, kinds[as]]);
    for (const label of [...by, ...Object.keys(where)]) expect([metric, ...labels]).toContain(label);
    expect(Array.from(legend.matchAll(/\{\{(\w+)\}\}/g), ([, label]) => label)).toEqual(by);
  }
});

test('every metric of furiwake is on the dashboard, but the version', () => {
  const shown = new Set(queries.map(({ metric }) => metric));
  const ours = [...documented.keys()].filter((name) => /^furiwake_\w+$/.test(name));
  expect(ours.filter((name) => !shown.has(name))).toEqual(['furiwake_build_info']);
});

test('a query becomes PromQL', () => {
  const query = { metric: 'm_total', as: 'rate', where: { state: 'up' }, by: ['node'], legend: '{{node}}' } as const;
  expect(promQl(query)).toBe('sum by (node) (rate(m_total{instance=~"$instance", state="up"}[$__rate_interval]))');
  const sum = 'sum (m_total{instance=~"$instance", state="up"})';
  expect(promQl({ ...query, as: 'value', by: [] })).toBe(sum);
  expect(promQl({ ...query, as: 'value', by: [], isAbsentAtZero: true })).toBe(`${sum} or vector(0)`);
  expect(promQl({ ...query, metric: 'm_seconds', as: 'p95', where: {} })).toBe(
    'histogram_quantile(0.95, sum by (node, le) (rate(m_seconds_bucket{instance=~"$instance"}[5m])))',
  );
});

test('no two panels overlap, and none is beyond the width of the page', () => {
  const places = layoutOf(rows).flatMap(({ place, panels }) => [place, ...panels.map(([, each]) => each)]);
  const taken = new Set<string>();
  for (const { x, y, w, h } of places)
    for (let column = x; column < x + w; column++)
      for (let line = y; line < y + h; line++) {
        expect(column).toBeLessThan(24);
        expect(taken).not.toContain(`${column} ${line}`);
        taken.add(`${column} ${line}`);
      }
});

test('a line of the picture is what Prometheus would answer', () => {
  const record = {
    intervalSeconds: 5,
    series: { 'm{a="x",b="1"}': [0, 10, 20], 'm{a="x",b="2"}': [null, 5, 5], 'm{a="y"}': [1, 1, 1], n: [1, 2, 3] },
  };
  expect(linesOf({ metric: 'm', as: 'value', by: ['a'], legend: '{{a}}' }, record)).toEqual([
    { name: 'x', points: [0, 15, 25] },
    { name: 'y', points: [1, 1, 1] },
  ]);
  expect(linesOf({ metric: 'm', as: 'rate', where: { b: '1' }, by: [], legend: 'all' }, record)).toEqual([
    { name: 'all', points: [undefined, 2, 2] },
  ]);
});

test('the dashboard and its picture are up to date (`npm run docs:dashboard`)', async () => {
  expect(readFileSync(dashboardFile, 'utf8')).toBe(renderDashboard(rows));
  expect(readFileSync(pictureFile, 'utf8')).toBe(drawDashboard(await readRecord()));
});
