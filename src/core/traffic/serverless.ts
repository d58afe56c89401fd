import type { BackendId, ListenerKey } from '../model/names.ts';
import { PersistentMap } from '../persistent-map.ts';
import { emptyTable, type Listener, type TrafficTable } from './table.ts';

type Backends = Pick<TrafficTable, 'backends' | 'pods'>;

/**
 * The listeners whose backend is known and has no server at all, or for which their Service has no endpoint; the same object while
 * they are the same. Compares with the table of the last call, so that one changed listener of ten thousand costs no walk over the
 * others. Only a backend that changes between empty and not empty costs that walk.
 */
export function makeServerlessIndex(): (table: TrafficTable) => ReadonlySet<ListenerKey> {
  const empty = new Set<BackendId>();
  let last = emptyTable;
  let serverless: ReadonlySet<ListenerKey> = new Set();
  const isServerless = (listener: Listener | undefined): boolean =>
    listener !== undefined &&
    (empty.has(listener.backend) || last.withoutEndpoints?.get(listener.key) === listener.uid);
  return (table) => {
    const { listeners } = table;
    const changed = [...backendsChanged(last, table)].filter((id) => isEmpty(table, id) !== empty.has(id));
    for (const id of changed) if (!empty.delete(id)) empty.add(id);
    const moved = [
      ...PersistentMap.changedKeys(last.listeners, listeners),
      ...PersistentMap.changedKeys(last.withoutEndpoints ?? none, table.withoutEndpoints ?? none),
    ];
    const keys = new Set(changed.length > 0 ? [...moved, ...listeners.keys()] : moved);
    last = table;
    const differing = [...keys].filter((key) => isServerless(listeners.get(key)) !== serverless.has(key));
    if (differing.length === 0) return serverless;
    const next = new Set(serverless);
    for (const key of differing) if (!next.delete(key)) next.add(key);
    serverless = next;
    return serverless;
  };
}

const none: NonNullable<TrafficTable['withoutEndpoints']> = PersistentMap.empty();

function backendsChanged(before: Backends, after: Backends): ReadonlySet<BackendId> {
  return new Set([
    ...PersistentMap.changedKeys(before.backends, after.backends),
    ...PersistentMap.changedKeys(before.pods, after.pods),
  ]);
}

function isEmpty({ backends, pods }: Backends, id: BackendId): boolean {
  return backends.get(id)?.servers.length === 0 || pods.get(id)?.pods.length === 0;
}
