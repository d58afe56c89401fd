import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { TrafficTable } from '../../core/traffic/table.ts';

/** Since when this host has the listeners of its Services, on whatever dataplane. */
export type ListenerAges = {
  /** Those of the first table are from before this process started. */
  follow(listeners: TrafficTable['listeners']): void;
  /** Ms; Infinity for one that is not known. */
  ageOf(listener: ListenerKey): number;
};

export function makeListenerAges(monotonic: () => number): ListenerAges {
  let known: TrafficTable['listeners'] | undefined;
  const sinceMs = new Map<ListenerKey, number>();
  return {
    follow: (listeners) => {
      const before = known ?? listeners;
      known = listeners;
      for (const key of PersistentMap.changedKeys(before, listeners)) {
        const [old, now] = [before.get(key), listeners.get(key)];
        if (now === undefined) sinceMs.delete(key);
        else if (old?.service !== now.service) sinceMs.set(key, monotonic());
      }
    },
    ageOf: (key) => monotonic() - (sinceMs.get(key) ?? Number.NEGATIVE_INFINITY),
  };
}
