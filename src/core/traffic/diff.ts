import { PersistentMap } from '../persistent-map.ts';
import type { Listener, TrafficTable } from './table.ts';

export type ListenerDiff = {
  /** New listeners, and those with another revision. */
  readonly changed: readonly Listener[];
  /** Listeners, as they were, that are no more or belong to another Service now: their connections must end. */
  readonly gone: readonly Listener[];
};

type Listeners = TrafficTable['listeners'];

/** What leads from `before` to `after`; takes as long as there are differences. */
export function diffListeners(before: Listeners, after: Listeners): ListenerDiff {
  const changed: Listener[] = [];
  const gone: Listener[] = [];
  for (const key of PersistentMap.changedKeys(before, after)) {
    const [old, listener] = [before.get(key), after.get(key)];
    if (listener !== undefined && listener.revision !== old?.revision) changed.push(listener);
    if (old !== undefined && old.service !== listener?.service) gone.push(old);
  }
  return { changed, gone };
}
