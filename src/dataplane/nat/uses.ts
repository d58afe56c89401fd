import type { Family } from '../../core/ip/ip.ts';
import type { BackendId, ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { isHostBackend } from '../../core/traffic/host-pods.ts';
import { emptyTable, type Listener, type Listeners } from '../../core/traffic/table.ts';

/** What the listeners use; those for the host itself, which have Pods, use none of it. */
export type Uses = {
  readonly backends: ReadonlyMap<BackendId, Family>;
  /** Those in which the host forwards packets. */
  readonly families: ReadonlySet<Family>;
  /** The listeners with affinity. */
  readonly affine: ReadonlySet<ListenerKey>;
};

/** Finds that out from the difference to the listeners of the last call. */
export function makeUses(): (listeners: Listeners) => Uses {
  let before = emptyTable.listeners;
  const counts = new Map<BackendId, number>();
  const backends = new Map<BackendId, Family>();
  const affine = new Set<ListenerKey>();

  const count = ({ backend, address }: Listener, change: 1 | -1): void => {
    const next = (counts.get(backend) ?? 0) + change;
    if (next > 0) {
      counts.set(backend, next);
      backends.set(backend, address.family);
    } else {
      counts.delete(backend);
      backends.delete(backend);
    }
  };

  return (listeners) => {
    for (const key of PersistentMap.changedKeys(before, listeners)) {
      const [old, now] = [before.get(key), listeners.get(key)];
      for (const each of [old, now])
        if (each !== undefined && !isHostBackend(each.backend)) count(each, each === old ? -1 : 1);
      if (now?.isAffine === true && !isHostBackend(now.backend)) affine.add(key);
      else affine.delete(key);
    }
    before = listeners;
    return { backends: new Map(backends), families: new Set(backends.values()), affine: new Set(affine) };
  };
}
