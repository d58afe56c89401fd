import { makeSubscribers } from '../async/subscribers.ts';
import type { Trouble } from '../async/trouble.ts';
import { assertNever } from '../core/assert-never.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { share } from '../core/share.ts';
import { isNewer } from './resource-version.ts';
import type { WatchEvent } from './watch-event.ts';
import type { Log } from '../ports/log.ts';

/** `K`: the caller's type for the keys of the watch (`objectKey`). */
export type Store<T, K extends string = string> = {
  /** Applies one event of the watch; ignores errors. */
  feed(event: WatchEvent<T>): void;
  /** Resolves when the first full set is complete. */
  readonly synced: Promise<void>;
  readonly isSynced: boolean;
  /** All objects; a new map exactly when something changed. */
  objects(): PersistentMap<K, T>;
  /** resourceVersion of an object, or `undefined`. */
  versionOf(key: K): string | undefined;
  /**
   * Calls the listener after each change with the changed keys; a full set is one change. Returns the end of the
   * subscription.
   */
  subscribe(listener: (changedKeys: ReadonlySet<K>) => void): () => void;
  /**
   * Adds the answer to one of furiwake's writes, so that it is visible before its watch event. Ignored if the watch has
   * delivered a newer state or the object's deletion, or if versions cannot be compared: the watch delivers it then.
   */
  put(object: T, version: string): void;
  /** Version of the newest answer that was used since the last list, or else of that list: see `WatchOptions`. */
  readonly newestAnswer: () => string;
};

type StoredObject<T> = { readonly object: T; readonly version: string };

/**
 * Keeps the objects of one collection. For each object the newest version wins, whether it came from the watch or from
 * the answer to a write:
 *
 *   apply(key, v)        unless the stored object is newer: it was put
 *   delete(key, v)       unless the stored object is newer: it was created again and put
 *   init … initDone(v)   the list replaces everything, except what was put since `init` with a version newer than v
 *   put(object, v)       unless the stored object is newer, or v is not newer than the last list and the last deletion:
 *                        the watch delivers in order, so an object of that version that is not stored has been deleted
 *
 * A list is always authoritative, even if its version is lower than those in the store: the watch delivers such a list only after it
 * has asked again (`makeOlderSets`), so etcd was restored from a backup.
 *
 * An object that is equal to the old one keeps its reference and nothing is reported; only its version changes.
 * Unchanged parts also keep their identity. `keyOf` must return the key of the watch (`objectKey`): objects are stored under the text
 * that they have themselves, so that it is kept once.
 */
export function makeStore<T, K extends string = string>({ keyOf }: { readonly keyOf: (object: T) => K }): Store<T, K> {
  let objects = PersistentMap.empty<K, T>();
  let versions = new Map<K, string>();
  /** Version of the last list or deletion: an older object that is not in the store no longer exists. */
  let deletionsKnownTo = '';
  let newestAnswer = '';
  /** Between `init` and `initDone`: the objects listed so far, and those put meanwhile. */
  let listing: { readonly listed: Map<K, StoredObject<T>>; readonly put: Map<K, StoredObject<T>> } | undefined;
  const subscribers = makeSubscribers<ReadonlySet<K>>();
  const synced = Promise.withResolvers<void>();
  let isSynced = false;

  const become = (next: PersistentMap<K, T>): void => {
    const before = objects;
    objects = next;
    if (objects === before) return;
    subscribers.tell(new Set(PersistentMap.changedKeys(before, objects)));
  };

  const isStoredNewer = (key: K, version: string): boolean => isNewer(versions.get(key) ?? '', version);

  const hold = (key: K, { object, version }: StoredObject<T>): void => {
    if (isStoredNewer(key, version)) return;
    versions.set(key, version);
    become(objects.with([[key, share(objects.get(key), object)]]));
  };

  const noteAnswer = ({ version }: StoredObject<T>): void => {
    if (isNewer(version, newestAnswer)) newestAnswer = version;
  };

  const replaceAll = (version: string): void => {
    if (listing === undefined) return;
    const { listed, put } = listing;
    listing = undefined;
    deletionsKnownTo = version;
    newestAnswer = version;
    for (const [key, entry] of put) {
      if (!isNewer(entry.version, version)) continue;
      listed.set(key, entry);
      noteAnswer(entry);
    }
    versions = new Map(Array.from(listed, ([key, entry]) => [key, entry.version]));
    isSynced = true;
    const gone = [...objects.keys()].filter((key) => !listed.has(key));
    become(
      objects.with([
        ...gone.map((key) => [key, undefined] as const),
        ...Array.from(listed, ([key, { object }]) => [key, share(objects.get(key), object)] as const),
      ]),
    );
    synced.resolve();
  };

  /** The object exists, but its present state cannot be decoded: the last readable one stays. */
  const keepInList = (key: K): void => {
    const [object, version] = [objects.get(key), versions.get(key)];
    if (object !== undefined && version !== undefined) listing?.listed.set(key, { object, version });
  };

  return {
    synced: synced.promise,
    get isSynced() {
      return isSynced;
    },
    feed: (event) => {
      switch (event.type) {
        case 'init':
          listing = { listed: new Map(), put: new Map() };
          return;
        case 'initApply':
          listing?.listed.set(keyOf(event.object), event);
          return;
        case 'initDone':
          return replaceAll(event.version);
        case 'apply':
          hold(keyOf(event.object), event);
          return;
        case 'delete': {
          const key = event.key as K;
          if (listing !== undefined) return void listing.listed.delete(key);
          deletionsKnownTo = event.version;
          if (isStoredNewer(key, event.version)) return;
          versions.delete(key);
          return become(objects.with([[key, undefined]]));
        }
        case 'undecodable':
          return keepInList(event.key as K);
        case 'bookmark':
        case 'error':
          return;
        default:
          return assertNever(event);
      }
    },
    objects: () => objects,
    versionOf: (key) => versions.get(key),
    subscribe: subscribers.subscribe,
    put: (object, version) => {
      const key = keyOf(object);
      if (!isNewer(version, deletionsKnownTo) || isStoredNewer(key, version)) return;
      const entry = { object, version };
      listing?.put.set(key, entry);
      noteAnswer(entry);
      hold(key, entry);
    },
    newestAnswer: () => newestAnswer,
  };
}

/**
 * Feeds a watch into a store until the watch ends (its signal aborts). `what` names it in the log: `watching services`. `trouble` gets
 * its failures, and the next event as their end.
 */
export async function feedStore<T>(
  store: Store<T>,
  events: AsyncIterable<WatchEvent<T>>,
  {
    what,
    trouble,
    log,
  }: { readonly what: string; readonly trouble: Pick<Trouble, 'failed' | 'over'>; readonly log: Log },
): Promise<void> {
  for await (const event of events) {
    store.feed(event);
    if (event.type === 'error') {
      // Every watch gets a 410 at some time: after a restart of the API server, or a long interruption. Not twice in a row.
      if (event.error.code === 'expired' && event.retryInMs === 0)
        log.info({ err: event.error }, `${what}: reading all objects again`);
      else trouble.failed(event.error, { reason: event.error.code });
    } else if (event.type === 'apply' || event.type === 'delete' || event.type === 'bookmark') trouble.over();
    if (event.type === 'undecodable')
      log.warn({ key: event.key, err: event.error }, 'object cannot be decoded; keeping its last readable state');
  }
}
