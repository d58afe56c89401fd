import path from 'node:path';

/*
 * `npm run docs:dashboard`: generates the Grafana dashboard, and its picture in the docs (dashboard-picture.ts), from this list.
 */

/** One or more lines of a panel. */
export type Query = {
  readonly metric: string;
  /** The lines are its value, its increase per second, or the 95th percentile of a histogram over five minutes. */
  readonly as: 'value' | 'rate' | 'p95';
  /** Only samples with these labels. */
  readonly where?: Readonly<Record<string, string>>;
  /** The labels of which each combination is a line; all others are added up. */
  readonly by: readonly string[];
  /** Grafana's legend, with `{{label}}`. */
  readonly legend: string;
  /** The metric has no sample while its value is 0. */
  readonly isAbsentAtZero?: true;
};

export type Panel = {
  readonly title: string;
  readonly description?: string;
  readonly kind: 'stat' | 'timeseries';
  /** Grafana's name of the unit. */
  readonly unit: 'short' | 'cps' | 'pps' | 'Bps' | 's';
  /** In 24ths of the page. */
  readonly width: number;
  readonly queries: readonly Query[];
  /** From this value on the figure is red; `below`: up to it. Only of `stat`. */
  readonly bad?: { readonly from: number } | { readonly below: number };
};

export type Row = { readonly title: string; readonly panels: readonly Panel[] };

const service = ['namespace', 'service'];
const perService = (metric: string, as: Query['as'] = 'rate'): readonly Query[] => [
  { metric, as, by: service, legend: '{{namespace}}/{{service}}' },
];
const one = (metric: string, legend: string, as: Query['as'] = 'value', by: readonly string[] = []): Query => ({
  metric,
  as,
  by,
  legend,
});
const lines = { kind: 'timeseries', unit: 'short', width: 8 } as const;
const figure = { kind: 'stat', unit: 'short', width: 4 } as const;

export const rows: readonly Row[] = [
  {
    title: 'State',
    panels: [
      {
        ...figure,
        title: 'Ready',
        description: 'Hosts that are ready: /readyz of the others says why not',
        queries: [one('furiwake_ready', '')],
        bad: { below: 1 },
      },
      { ...figure, title: 'HAProxy', queries: [one('furiwake_haproxy_up', '')], bad: { below: 1 } },
      {
        ...figure,
        title: 'Services without an address',
        queries: [{ ...one('furiwake_services', ''), where: { state: 'Pending' } }],
        bad: { from: 1 },
      },
      {
        ...figure,
        title: 'Free addresses',
        queries: [{ ...one('furiwake_pool_addresses', ''), where: { state: 'free' } }],
        bad: { below: 1 },
      },
      {
        ...figure,
        title: 'Nodes up',
        description: 'A dual-stack node counts twice',
        queries: [{ ...one('furiwake_servers', ''), where: { state: 'up' } }],
        bad: { below: 1 },
      },
      {
        ...figure,
        title: 'Tasks that fail',
        description: 'The log says what fails',
        queries: [{ ...one('furiwake_failing', ''), isAbsentAtZero: true }],
        bad: { from: 1 },
      },
      { ...lines, title: 'Services by status', queries: [one('furiwake_services', '{{state}}', 'value', ['state'])] },
      { ...lines, title: 'Nodes by state', queries: [one('furiwake_servers', '{{state}}', 'value', ['state'])] },
      {
        ...lines,
        title: 'Addresses of the pool',
        queries: [one('furiwake_pool_addresses', '{{state}}', 'value', ['state'])],
      },
    ],
  },
  {
    title: 'Traffic by Service',
    panels: [
      {
        ...lines,
        title: 'New connections and flows',
        unit: 'cps',
        queries: perService('furiwake_service_connections_total'),
      },
      {
        ...lines,
        title: 'Bytes from the clients',
        unit: 'Bps',
        queries: perService('furiwake_service_received_bytes_total'),
      },
      {
        ...lines,
        title: 'Bytes to the clients',
        description: 'HAProxy only: with direct the nodes answer the clients themselves',
        unit: 'Bps',
        queries: perService('furiwake_service_sent_bytes_total'),
      },
      {
        ...lines,
        title: 'Open connections',
        description: 'HAProxy only',
        queries: perService('furiwake_service_connections', 'value'),
      },
      {
        ...lines,
        title: 'Packets from the clients',
        description: 'direct only',
        unit: 'pps',
        queries: perService('furiwake_service_received_packets_total'),
      },
      {
        ...lines,
        title: 'Refused by source ranges',
        unit: 'pps',
        queries: perService('furiwake_service_refused_packets_total'),
      },
    ],
  },
  {
    title: 'Refusals and troubles',
    panels: [
      {
        ...lines,
        title: 'Listeners that the host refuses',
        queries: [{ ...one('furiwake_listeners', 'refused'), where: { state: 'refused' } }],
      },
      {
        ...lines,
        title: 'Refused changes and writes',
        unit: 'cps',
        queries: [
          one('furiwake_dataplane_errors_total', 'dataplane: {{kind}}', 'rate', ['kind']),
          one('furiwake_writes_refused_total', 'writes to Services', 'rate'),
          one('furiwake_status_conflicts_total', 'status written by another client', 'rate'),
          one('furiwake_reconcile_errors_total', 'failed writes', 'rate'),
        ],
      },
      { ...lines, title: 'Tasks that fail', queries: [one('furiwake_failing', '{{what}}', 'value', ['what'])] },
      {
        ...lines,
        title: 'Repairs and restarts',
        unit: 'cps',
        queries: [
          one('furiwake_nftables_repairs_total', 'nftables repaired', 'rate'),
          one('furiwake_direct_repairs_total', 'table of direct repaired', 'rate'),
          one('furiwake_haproxy_restarts_total', 'HAProxy restarted', 'rate'),
          one('furiwake_reloads_total', 'HAProxy reloaded', 'rate'),
          one('furiwake_silent_nodes_total', 'node silent, connections reset', 'rate'),
        ],
      },
      {
        ...lines,
        title: 'Flows that direct keeps at their nodes',
        queries: [
          one('furiwake_direct_pins', '{{of}}', 'value', ['of']),
          one('furiwake_direct_pins_limit', 'the most of each'),
        ],
      },
      {
        ...lines,
        title: 'Packets of flows beyond this limit',
        unit: 'pps',
        queries: [one('furiwake_direct_unpinned_packets_total', 'not pinned', 'rate')],
      },
    ],
  },
  {
    title: 'Speed',
    panels: [
      {
        ...lines,
        title: 'Until an address is published (95 %)',
        unit: 's',
        queries: [one('furiwake_service_publish_seconds', 'publish', 'p95')],
      },
      {
        ...lines,
        title: 'Until a change is in force (95 %)',
        unit: 's',
        queries: [one('furiwake_dataplane_apply_seconds', 'apply', 'p95')],
      },
      {
        ...lines,
        title: 'Answers of the API server (95 %)',
        unit: 's',
        queries: [one('furiwake_api_request_seconds', '{{verb}} {{resource}}', 'p95', ['verb', 'resource'])],
      },
    ],
  },
];

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
