import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { type Listeners, usesNat } from '../../core/traffic/table.ts';

/**
 * TCP listeners that `nat` had and another dataplane has now, of the same Service: new connections are the other one's, and those of
 * `nat` stay as they are. Only this process knows them.
 */
export type FormerNat = {
  /** Follows the change from one table to the next. */
  follow(before: Listeners, next: Listeners): void;
  /** The same object while nothing changed. */
  keys(): ReadonlySet<ListenerKey>;
  /** These have no connection left. */
  forget(gone: readonly ListenerKey[]): void;
};

export function makeFormerNat(): FormerNat {
  let keys: ReadonlySet<ListenerKey> = new Set();
  const without = (gone: readonly ListenerKey[]): void => {
    if (gone.some((key) => keys.has(key))) keys = new Set([...keys].filter((key) => !gone.includes(key)));
  };
  return {
    follow: (before, next) => {
      const [come, gone]: [ListenerKey[], ListenerKey[]] = [[], []];
      for (const key of PersistentMap.changedKeys(before, next)) {
        const [old, now] = [before.get(key), next.get(key)];
        const stays = now !== undefined && !usesNat(now) && now.protocol === 'TCP' && now.uid === old?.uid;
        if (!stays) gone.push(key);
        else if (usesNat(old)) come.push(key);
      }
      without(gone);
      if (come.length > 0) keys = new Set([...keys, ...come]);
    },
    keys: () => keys,
    forget: without,
  };
}
