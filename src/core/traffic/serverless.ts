import type { BackendId, ListenerKey, ServiceKey } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { ServiceEndpoints } from './local.ts';
import { emptyTable, type Listener, type TrafficTable } from './table.ts';

type Backends = Pick<TrafficTable, 'backends' | 'pods'>;

/**
 * The listeners whose backend is known and has no server at all, or whose Service has no endpoint; the same object while
 * they are the same. Compares with the table of the last call, so that one changed listener of ten thousand costs no walk over the
 * others. Only a backend that changes between empty and not empty, or a Service that gets or loses its endpoints,
 * costs that walk.
 */
export function makeServerlessIndex(): (table: TrafficTable) => ReadonlySet<ListenerKey> {
  const empty = new Set<BackendId>();
  let last = emptyTable;
  let serverless: ReadonlySet<ListenerKey> = new Set();
  const isServerless = (listener: Listener | undefined): boolean =>
    listener !== undefined && (empty.has(listener.backend) || last.withoutEndpoints.has(listener.service));
  return (table) => {
    const { listeners } = table;
    const changed = [...backendsChanged(last, table)].filter((id) => isEmpty(table, id) !== empty.has(id));
    for (const id of changed) if (!empty.delete(id)) empty.add(id);
    const isWide =
      changed.length > 0 || PersistentMap.changedKeys(last.withoutEndpoints, table.withoutEndpoints).length > 0;
    const moved = PersistentMap.changedKeys(last.listeners, listeners);
    const keys = isWide ? new Set([...moved, ...listeners.keys()]) : moved;
    last = table;
    const differing = [...keys].filter((key) => isServerless(listeners.get(key)) !== serverless.has(key));
    if (differing.length === 0) return serverless;
    const next = new Set(serverless);
    for (const key of differing) if (!next.delete(key)) next.add(key);
    serverless = next;
    return serverless;
  };
}

function backendsChanged(before: Backends, after: Backends): ReadonlySet<BackendId> {
  return new Set([
    ...PersistentMap.changedKeys(before.backends, after.backends),
    ...PersistentMap.changedKeys(before.pods, after.pods),
  ]);
}

function isEmpty({ backends, pods }: Backends, id: BackendId): boolean {
  return backends.get(id)?.servers.length === 0 || pods.get(id)?.pods.length === 0;
}

/** Whether the Service is known to have no endpoint that takes connections. Without an EndpointSlice it is not known. */
export function lacksEndpoints(endpoints: ServiceEndpoints | undefined): boolean {
  return endpoints !== undefined && endpoints.groups.every((group) => group.endpoints.length === 0);
}

/**
 * The Services that are known to have no endpoints; the same object while they are the same. `endpoints` is `undefined` until they are
 * known, and compared with those of the last call.
 */
export function makeWithoutEndpoints(): (
  services: PersistentMap<ServiceKey, Service>,
  endpoints: PersistentMap<ServiceKey, ServiceEndpoints> | undefined,
) => TrafficTable['withoutEndpoints'] {
  let { withoutEndpoints } = emptyTable;
  let last = {
    services: PersistentMap.empty<ServiceKey, Service>(),
    endpoints: PersistentMap.empty<ServiceKey, ServiceEndpoints>(),
  };
  return (services, endpoints = last.endpoints) => {
    const changed = new Set([
      ...PersistentMap.changedKeys(last.services, services),
      ...PersistentMap.changedKeys(last.endpoints, endpoints),
    ]);
    last = { services, endpoints };
    withoutEndpoints = withoutEndpoints.with(
      Array.from(changed, (key) => [key, (services.has(key) && lacksEndpoints(endpoints.get(key))) || undefined]),
    );
    return withoutEndpoints;
  };
}
