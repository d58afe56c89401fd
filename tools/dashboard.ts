import path from 'node:path';
import type { Panel, Query, Row } from './dashboard-panels.ts';

/*
 * `npm run docs:dashboard`: generates the Grafana dashboard, and its picture in the docs (dashboard-picture.ts), from the panels in
 * dashboard-panels.ts.
 */

/** The query in PromQL, of the hosts that are selected on the page. */
export function promQl({ metric, as, where = {}, by, isAbsentAtZero }: Query): string {
  const labels = ['instance=~"$instance"', ...Object.entries(where).map(([name, value]) => `${name}="${value}"`)];
  const series = (name: string, range = ''): string => `${name}{${labels.join(', ')}}${range}`;
  const sumBy = (names: readonly string[]): string => (names.length === 0 ? 'sum' : `sum by (${names.join(', ')})`);
  if (as === 'value') return `${sumBy(by)} (${series(metric)})${isAbsentAtZero === true ? ' or vector(0)' : ''}`;
  if (as === 'rate') return `${sumBy(by)} (rate(${series(metric, '[$__rate_interval]')}))`;
  return `histogram_quantile(0.95, ${sumBy([...by, 'le'])} (rate(${series(`${metric}_bucket`, '[5m]')})))`;
}

/** Where each panel is, in Grafana's units: 24 columns. */
export type Place = { readonly x: number; readonly y: number; readonly w: number; readonly h: number };

const heights = { stat: 4, timeseries: 8 } as const;

/** The rows and their panels from the top, from left to right. */
export function layoutOf(
  all: readonly Row[],
): readonly { readonly row: Row; readonly place: Place; readonly panels: readonly (readonly [Panel, Place])[] }[] {
  let y = 0;
  return all.map((row) => {
    const place = { x: 0, y: y++, w: 24, h: 1 };
    let x = 0;
    let lineHeight = 0;
    const panels = row.panels.map((panel): readonly [Panel, Place] => {
      if (x + panel.width > 24) {
        y += lineHeight;
        x = 0;
      }
      lineHeight = heights[panel.kind];
      const at = { x, y, w: panel.width, h: lineHeight };
      x += panel.width;
      return [panel, at];
    });
    y += lineHeight;
    return { row, place, panels };
  });
}

const datasource = { type: 'prometheus', uid: '${datasource}' };

/** The dashboard, as Grafana imports it (its JSON model, schema 39: Grafana 10 and newer). */
export function renderDashboard(all: readonly Row[]): string {
  let id = 0;
  const panels = layoutOf(all).flatMap(({ row, place, panels: placed }) => [
    { id: ++id, type: 'row', title: row.title, collapsed: false, gridPos: place, panels: [] },
    ...placed.map(([panel, gridPos]) => ({ id: ++id, ...renderPanel(panel), gridPos })),
  ]);
  const dashboard = {
    uid: 'furiwake',
    title: 'furiwake',
    description: 'Load balancers for Services: hosts, nodes, traffic, refusals, troubles',
    tags: ['kubernetes', 'load-balancer'],
    schemaVersion: 39,
    editable: true,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' },
        {
          name: 'instance',
          label: 'Host',
          type: 'query',
          datasource,
          query: 'label_values(furiwake_build_info, instance)',
          refresh: 2,
          multi: true,
          includeAll: true,
          allValue: '.*',
          current: { text: 'All', value: '$__all' },
        },
      ],
    },
    panels,
  };
  return `${JSON.stringify(dashboard, undefined, 2)}\n`;
}

function renderPanel({ title, description, kind, unit, queries, bad }: Panel): object {
  const [low, high] = bad !== undefined && 'below' in bad ? ['red', 'green'] : ['green', 'red'];
  const limit = bad === undefined ? undefined : 'below' in bad ? bad.below : bad.from;
  const steps = [{ color: low, value: null }, ...(limit === undefined ? [] : [{ color: high, value: limit }])];
  return {
    type: kind,
    title,
    ...(description === undefined ? {} : { description }),
    datasource,
    fieldConfig: {
      defaults: { unit, min: 0, ...(kind === 'stat' ? { thresholds: { mode: 'absolute', steps } } : {}) },
      overrides: [],
    },
    options:
      kind === 'stat'
        ? { colorMode: 'value', graphMode: 'none', reduceOptions: { calcs: ['lastNotNull'] } }
        : { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: queries.map((query, index) => ({
      refId: String.fromCodePoint(65 + index),
      datasource,
      expr: promQl(query),
      legendFormat: query.legend,
    })),
  };
}

export const dashboardFile: string = path.join(import.meta.dirname, '..', 'deploy', 'grafana', 'furiwake.json');
