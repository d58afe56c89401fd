import { assertNever } from '../core/assert-never.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { share } from './share.ts';
import type { WatchEvent } from './watch-event.ts';

/*
 * What the watch says, with our own writes laid over it until the watch has caught up:
 *
 *   watched   (what the watch delivered, in its order)            key → { object, version }
 *   written   (answers of our writes, not seen in the watch yet)  key → { object, version }
 *   current   = watched, with `written` over it                   key → object (an immutable map for each state)
 *
 * Versions are opaque, so nobody can say which of two is the newer one. The watch delivers every version in order,
 * though: what it says before it has delivered the version of our write is older than that write, and what it says
 * afterwards is newer. So `written` hides the watch's word for a key until
 *   - that very version arrives, or the key is deleted, or
 *   - a list that began after the write is complete, or
 *   - two bookmarks have passed: they come a minute apart, so one at most was under way, and the second is past it.
 * An answer that comes late is known by its version or uid among the last events. A new list, though, skips versions:
 * for the objects that it changed nobody can tell a late answer from a new one, so none is taken for two bookmarks.
 * In the end the watch is always right: no write can hide it for ever, and an answer that is not taken is no loss.
 */
type Entry<T> = { readonly object: T; readonly version: string };
type Written<T> = Entry<T> & { readonly bookmarksLeft: number };

/** How many of the last events are remembered, to know the answer of a write that is slower than its echo. */
const rememberedEvents = 4_096;

/** `K` is the type of the keys: strings of the watch (`objectKey`), by whatever name the caller knows them. */
export type Store<T, K extends string = string> = {
  /** Takes one event of the watch. Errors are not its business. */
  feed(event: WatchEvent<T>): void;
  /** Resolves when the first full set is there. */
  readonly synced: Promise<void>;
  readonly isSynced: boolean;
  /** All objects; another map exactly when something changed. */
  objects(): PersistentMap<K, T>;
  /** resourceVersion of an object, or `undefined`. */
  versionOf(key: K): string | undefined;
  /** Keys of objects that are there and cannot be read; the last readable state, if any, stays in `objects`. */
  undecodable(): ReadonlySet<K>;
  /** Called after each change with the keys that changed; a whole set at once. Returns the end of the subscription. */
  subscribe(listener: (changedKeys: ReadonlySet<K>) => void): () => void;
  /** The answer of a write, so that nobody waits for the watch to bring it. An older event never overwrites it. For writes of one key: in their order. */
  put(object: T, version: string): void;
};

/**
 * Keeps the objects of one collection. An object that equals the old one keeps its reference and nobody is told;
 * its version is kept beside it. Parts that did not change keep their identity too.
 *
 * `keyOf` must give the key of the watch (`objectKey`), `uidOf` the object's uid, by which the answer of a write to an
 * object that is gone is told from a new object of that name; default: the key.
 */
export function makeStore<T, K extends string = string>({
  keyOf,
  uidOf = keyOf,
}: {
  readonly keyOf: (object: T) => K;
  readonly uidOf?: (object: T) => string;
}): Store<T, K> {
  let watched = new Map<K, Entry<T>>();
  let fresh: Map<K, Entry<T>> | undefined; // the set between `init` and `initDone`
  let unreadable = new Set<K>();
  let freshUnreadable = new Set<K>();
  let beforeInit: ReadonlyMap<K, string> = new Map(); // versions of `written` when the list began
  const written = new Map<K, Written<T>>();
  let current = PersistentMap.empty<K, T>();
  const recent = new Set<string>();
  const listeners = new Set<(keys: ReadonlySet<K>) => void>();
  const synced = Promise.withResolvers<void>();
  let isSynced = false;
  let doubtful: ReadonlySet<K> = new Set();
  let doubtfulBookmarksLeft = 0;

  const remember = (what: string): void => {
    recent.add(what);
    if (recent.size > rememberedEvents) for (const oldest of recent) return void recent.delete(oldest);
  };

  /** Brings `current` up to what `watched` and `written` say of the keys; tells, where that changed anything. */
  const settle = (keys: Iterable<K>): void => {
    const before = current;
    current = current.with(Array.from(keys, (key) => [key, (written.get(key) ?? watched.get(key))?.object]));
    if (current === before) return;
    const changed = new Set(PersistentMap.changedKeys(before, current));
    for (const listener of listeners) listener(changed);
  };

  const shared = (key: K, object: T): T => {
    const old = current.get(key);
    return old === undefined ? object : share(old, object);
  };

  const apply = (key: K, { object, version }: Entry<T>): void => {
    unreadable.delete(key);
    if (written.get(key)?.version === version) written.delete(key);
    watched.set(key, { object: shared(key, object), version });
    remember(`${key} ${version}`);
    settle([key]);
  };

  const applyFresh = (key: K, { object, version }: Entry<T>): void => {
    freshUnreadable.delete(key);
    fresh?.set(key, { object: shared(key, object), version });
  };

  const remove = (key: K): void => {
    if (fresh !== undefined) {
      fresh.delete(key);
      freshUnreadable.delete(key);
      return;
    }
    const gone = written.get(key) ?? watched.get(key);
    if (gone !== undefined) remember(uidOf(gone.object));
    unreadable.delete(key);
    written.delete(key);
    watched.delete(key);
    settle([key]);
  };

  const replaceAll = (next: Map<K, Entry<T>>): void => {
    for (const key of freshUnreadable) {
      const last = watched.get(key);
      if (last !== undefined && !next.has(key)) next.set(key, last);
    }
    for (const [key, { object }] of watched) if (!next.has(key)) remember(uidOf(object));
    for (const [key, { version }] of written)
      if (beforeInit.get(key) === version || next.get(key)?.version === version) written.delete(key);
    const keys = new Set([...watched.keys(), ...next.keys(), ...current.keys()]);
    if (isSynced) {
      const isSkipping = (key: K): boolean => watched.get(key)?.version !== next.get(key)?.version;
      doubtful = new Set([...doubtful, ...[...keys].filter(isSkipping)]);
      doubtfulBookmarksLeft = 2;
    }
    watched = next;
    unreadable = freshUnreadable;
    fresh = undefined;
    isSynced = true;
    settle(keys);
    synced.resolve();
  };

  const bookmark = (): void => {
    doubtfulBookmarksLeft -= 1;
    if (doubtfulBookmarksLeft === 0) doubtful = new Set();
    const passed: K[] = [];
    for (const [key, entry] of written) {
      if (entry.bookmarksLeft > 0) written.set(key, { ...entry, bookmarksLeft: entry.bookmarksLeft - 1 });
      else passed.push(key);
    }
    for (const key of passed) written.delete(key);
    settle(passed);
  };

  return {
    synced: synced.promise,
    get isSynced() {
      return isSynced;
    },
    feed: (event) => {
      switch (event.type) {
        case 'init':
          fresh = new Map();
          freshUnreadable = new Set();
          beforeInit = new Map([...written].map(([key, entry]) => [key, entry.version]));
          return;
        case 'initApply':
          return applyFresh(event.key as K, event);
        case 'initDone':
          return fresh && replaceAll(fresh);
        case 'apply':
          return apply(event.key as K, event);
        case 'delete':
          return remove(event.key as K);
        case 'undecodable':
          return void (fresh === undefined ? unreadable : freshUnreadable).add(event.key as K);
        case 'bookmark':
          return bookmark();
        case 'error':
          return;
        default:
          return assertNever(event);
      }
    },
    objects: () => current,
    versionOf: (key) => (written.get(key) ?? watched.get(key))?.version,
    undecodable: () => unreadable,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    put: (object, version) => {
      const key = keyOf(object);
      if (!isSynced) return;
      // The watch has been there already, or may have been.
      if (recent.has(`${key} ${version}`) || recent.has(uidOf(object)) || doubtful.has(key)) return;
      if (watched.get(key)?.version === version) return;
      written.set(key, { object: shared(key, object), version, bookmarksLeft: 1 });
      settle([key]);
    },
  };
}
