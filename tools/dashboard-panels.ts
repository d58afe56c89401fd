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
const perServer = (metric: string, as: Query['as'] = 'rate'): readonly Query[] => [
  { metric, as, by: [...service, 'server'], legend: '{{namespace}}/{{service}} {{server}}' },
];
const one = (metric: string, legend: string, as: Query['as'] = 'value', by: readonly string[] = []): Query => ({
  metric,
  as,
  by,
  legend,
});
const lines = { kind: 'timeseries', unit: 'short', width: 8 } as const;
const figure = { kind: 'stat', unit: 'short', width: 4 } as const;

const ofPool = (legend: string, by: readonly string[]): Query => one('furiwake_pool_addresses', legend, 'value', by);

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
        queries: [{ ...ofPool('IPv{{family}}', ['family']), where: { state: 'free' } }],
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
      { ...lines, title: 'Addresses of the pool', queries: [ofPool('IPv{{family}} {{state}}', ['family', 'state'])] },
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
        description: 'HAProxy and nat: with direct the nodes answer the clients themselves',
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
        title: 'Packets',
        description: 'direct: from the clients; nat: each way',
        unit: 'pps',
        queries: [
          ...perService('furiwake_service_received_packets_total'),
          one('furiwake_service_sent_packets_total', '{{namespace}}/{{service}} to the clients', 'rate', service),
        ],
      },
      {
        ...lines,
        title: 'Refused by source ranges and limits',
        unit: 'pps',
        queries: perService('furiwake_service_refused_packets_total'),
      },
    ],
  },
  {
    title: 'Servers of Services with furiwake.dev/server-metrics',
    panels: [
      { ...lines, title: 'Open connections of servers', queries: perServer('furiwake_server_connections', 'value') },
      {
        ...lines,
        title: 'Attempts to connect to servers',
        unit: 'cps',
        queries: perServer('furiwake_server_connections_total'),
      },
      {
        ...lines,
        title: 'Errors of servers',
        description: 'Failed attempts to connect, and connections that the server broke off',
        unit: 'cps',
        queries: perServer('furiwake_server_errors_total'),
      },
      {
        ...lines,
        title: 'Connections that wait for a server',
        queries: perService('furiwake_server_queue', 'value'),
      },
      {
        ...lines,
        title: 'Ports that are not measured',
        description: 'With that annotation, beyond the 500 that are',
        queries: [one('furiwake_servers_omitted', 'ports and families')],
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
          one('furiwake_nat_repairs_total', 'table of nat repaired', 'rate'),
          one('furiwake_haproxy_restarts_total', 'HAProxy restarted', 'rate'),
          one('furiwake_reloads_total', 'HAProxy reloaded', 'rate'),
          one('furiwake_silent_nodes_total', 'node silent, connections reset', 'rate'),
        ],
      },
      {
        ...lines,
        title: 'Flows that direct keeps at their nodes',
        queries: [one('furiwake_direct_pins', '{{of}}', 'value', ['of']), one('furiwake_direct_pins_limit', 'most')],
      },
      {
        ...lines,
        title: 'Packets of flows beyond this limit, or with impossible sources',
        unit: 'pps',
        queries: [
          one('furiwake_direct_unpinned_packets_total', 'not pinned', 'rate'),
          one('furiwake_direct_spoofed_packets_total', 'impossible source', 'rate'),
        ],
      },
      {
        ...lines,
        title: 'Flows in conntrack, clients that nat keeps at their nodes',
        queries: [
          one('furiwake_conntrack_flows', 'flows'),
          one('furiwake_conntrack_flows_limit', 'the most flows'),
          one('furiwake_nat_clients', 'clients, IPv{{family}}', 'value', ['family']),
        ],
      },
      {
        ...lines,
        title: 'Packets that conntrack had no room for',
        unit: 'pps',
        queries: [one('furiwake_conntrack_dropped_packets_total', 'dropped', 'rate')],
      },
      {
        ...lines,
        title: 'Flows that nat ended',
        description: 'Their Service, nodePort or node was gone, or they began before their Service',
        unit: 'cps',
        queries: [one('furiwake_nat_flows_ended_total', 'ended', 'rate')],
      },
      {
        ...lines,
        title: "furiwake's own probe replaces kube-proxy's health port",
        queries: [one('furiwake_own_probe', 'IPv{{family}}', 'value', ['family'])],
      },
      {
        ...lines,
        title: 'Restarted watches, events not sent',
        unit: 'cps',
        queries: [
          one('furiwake_watch_restarts_total', '{{resource}}: {{reason}}', 'rate', ['resource', 'reason']),
          one('furiwake_events_dropped_total', 'events: {{reason}}', 'rate', ['reason']),
        ],
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
        title: 'Until a change is in force, and its stages (95 %)',
        unit: 's',
        queries: [
          one('furiwake_dataplane_apply_seconds', 'all', 'p95'),
          one('furiwake_dataplane_stage_seconds', '{{stage}}', 'p95', ['stage']),
        ],
      },
      {
        ...lines,
        title: 'Answers of the API server (95 %)',
        unit: 's',
        queries: [one('furiwake_api_request_seconds', '{{verb}} {{resource}}', 'p95', ['verb', 'resource'])],
      },
      {
        ...lines,
        title: 'Requests to the API server',
        unit: 'cps',
        queries: [one('furiwake_api_requests_total', '{{verb}} {{code}}', 'rate', ['verb', 'code'])],
      },
      {
        ...lines,
        title: 'Services that wait for a reconcile',
        queries: [one('furiwake_queue_depth', '{{queue}}', 'value', ['queue'])],
      },
      {
        ...lines,
        title: 'Transactions of nftables',
        unit: 'cps',
        queries: [one('furiwake_nftables_transactions_total', '{{kind}}', 'rate', ['kind'])],
      },
      { ...lines, title: 'Connections of HAProxy', queries: [one('furiwake_connections', 'open')] },
      { ...lines, title: 'Replaced workers of HAProxy', queries: [one('furiwake_haproxy_old_workers', 'in use')] },
    ],
  },
];
