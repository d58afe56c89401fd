import type { Family, Ip } from '../ip/ip.ts';
import type { IpRange } from '../ip/range.ts';
import type { ListenerKey, NodeName, ServiceKey } from '../model/names.ts';
import type { Protocol } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';

/**
 * What one load-balancer host must do, as plain data. Data planes take a table and know nothing of Kubernetes.
 *
 *   rows     192.0.2.51|80|TCP   → lbtest/nginx, shared nodes (family 4), nodePort 30692, open, ≤ 4000 connections
 *            2001:db8::51|80|TCP → lbtest/nginx, shared nodes (family 6), nodePort 30692, …
 *   nodes    4: n1 192.0.2.11 active, n2 192.0.2.12 drain      6: n1 2001:db8::11 active, …
 *   hosted   the addresses of the rows that the host must have, whether it has them anyway or we add them
 *
 * Parts that did not change keep their identity from table to table.
 */
export type TrafficTable = {
  readonly rows: PersistentMap<ListenerKey, Row>;
  /** The same rows, by the Service that has them; none without a row. */
  readonly byService: PersistentMap<ServiceKey, readonly Row[]>;
  readonly nodes: { readonly 4: readonly Server[]; readonly 6: readonly Server[] };
  /** By its text. */
  readonly hosted: PersistentMap<string, Ip>;
};

/** Where clients connect to: address, protocol and port. */
export type Listener = { readonly address: Ip; readonly protocol: Protocol; readonly port: number };

/** One listener and the policy for its connections. Never holds text that a user wrote, but for `service`. */
export type Row = Listener & {
  readonly key: ListenerKey;
  /** For logs, metrics and the decision that a row changed hands; data planes put it into no daemon's text. */
  readonly service: ServiceKey;
  readonly backend: Backend;
  /** Merged, of the listener's family; `undefined` is open to all, an empty list to nobody. */
  readonly sourceRanges: readonly IpRange[] | undefined;
  /** Cap on concurrent connections of the row's Service, over all its rows; `undefined` is the data plane's default (half of what it can hold). */
  readonly maxConnections: number | undefined;
};

/**
 * Where a listener's connections go: the shared backend of all cluster nodes, reached on one nodePort; or servers of
 * its own, with the settings that HAProxy fixes per backend.
 */
export type Backend =
  | { readonly kind: 'nodes'; readonly family: Family; readonly nodePort: number }
  | { readonly kind: 'own'; readonly profile: Profile; readonly servers: readonly OwnServer[] };

/** A distinct set of the settings that HAProxy fixes per backend: slots are declared ahead for each profile. */
export type Profile = {
  readonly algorithm: 'roundrobin' | 'leastconn' | 'source';
  readonly proxyProtocol: 'none' | 'v1' | 'v2';
};

/** A server of a backend of its own; its health is that of `node`'s one check. */
export type OwnServer = {
  readonly node: NodeName;
  readonly address: Ip;
  readonly port: number;
  readonly weight: number;
};

/** A cluster node in the shared backend of its family; `drain`: no new connections, the present ones live. */
export type Server = { readonly node: NodeName; readonly address: Ip; readonly state: 'active' | 'drain' };

export const emptyTable: TrafficTable = {
  rows: PersistentMap.empty(),
  byService: PersistentMap.empty(),
  nodes: { 4: [], 6: [] },
  hosted: PersistentMap.empty(),
};

/** A table of these rows; of two for one listener the later one counts. */
export function tableOf(rows: readonly Row[], nodes: TrafficTable['nodes']): TrafficTable {
  const byKey = PersistentMap.from(rows.map((row) => [row.key, row]));
  return {
    rows: byKey,
    byService: PersistentMap.from(Map.groupBy(byKey.values(), (row) => row.service)),
    nodes,
    hosted: PersistentMap.from(Array.from(byKey.values(), ({ address }) => [address.text, address])),
  };
}

export function listenerKey(address: Ip, port: number, protocol: Protocol): ListenerKey {
  return `${address.text}|${port}|${protocol}` as ListenerKey;
}
