import { expect, test } from 'vitest';
import { makeStore, type Store } from './store.ts';
import type { WatchEvent } from './watch-event.ts';

type Thing = {
  readonly key: string;
  readonly uid: string;
  readonly spec: { readonly size: number };
  readonly note?: string;
};

const thing = (key: string, size: number, uid = key): Thing => ({ key, uid, spec: { size } });
const eventOf =
  (type: 'apply' | 'initApply') =>
  (key: string, size: number, version: string, uid = key): WatchEvent<Thing> => ({
    type,
    key,
    version,
    object: thing(key, size, uid),
  });
const applied = eventOf('apply');
const initial = eventOf('initApply');
const bookmark: WatchEvent<Thing> = { type: 'bookmark' };

function storeWith(...events: readonly WatchEvent<Thing>[]): Store<Thing> {
  const store = makeStore<Thing>({ keyOf: ({ key }) => key, uidOf: ({ uid }) => uid });
  for (const event of [{ type: 'init' } as const, ...events]) store.feed(event);
  return store;
}

const synced = (...events: readonly WatchEvent<Thing>[]): Store<Thing> =>
  storeWith(initial('a', 1, 'v1'), initial('b', 1, 'v2'), { type: 'initDone' }, ...events);

const sizeOf = (store: Store<Thing>, key: string): number | undefined => store.objects().get(key)?.spec.size;

test('shows nothing until the first set is whole', async () => {
  const store = storeWith(initial('a', 1, 'v1'));
  expect([store.isSynced, store.objects().size]).toEqual([false, 0]);
  store.feed({ type: 'initDone' });
  await store.synced;
  expect([store.isSynced, store.objects().size]).toEqual([true, 1]);
});

test('begins anew when a first set is broken off', () => {
  const store = storeWith(initial('a', 1, 'v1'), { type: 'init' }, initial('b', 1, 'v2'), { type: 'initDone' });
  expect([...store.objects().keys()]).toEqual(['b']);
});

test('a new set replaces the old one at once, and tells all that changed at once', () => {
  const store = synced();
  const told: string[][] = [];
  store.subscribe((keys) => told.push([...keys].toSorted()));
  const before = store.objects();
  for (const event of [{ type: 'init' } as const, initial('b', 1, 'v2'), initial('c', 1, 'v3')]) store.feed(event);
  expect(store.objects()).toBe(before);
  store.feed({ type: 'initDone' });
  expect([...store.objects().keys()].toSorted()).toEqual(['b', 'c']);
  expect(told).toEqual([['a', 'c']]);
});

test('keeps the old reference of an object that is equal, tells nobody, and still moves its version', () => {
  const store = synced();
  const told: unknown[] = [];
  store.subscribe((keys) => told.push(keys));
  const [before, object] = [store.objects(), store.objects().get('a')];
  store.feed(applied('a', 1, 'v9'));
  expect(store.objects()).toBe(before);
  expect(store.objects().get('a')).toBe(object);
  expect(store.versionOf('a')).toBe('v9');
  expect(told).toEqual([]);
});

test('keeps the identity of the parts that did not change', () => {
  const store = synced();
  const { spec } = store.objects().get('a') ?? {};
  store.feed({ type: 'apply', key: 'a', version: 'v9', object: { ...thing('a', 1), note: 'new' } });
  expect(store.objects().get('a')?.note).toBe('new');
  expect(store.objects().get('a')?.spec).toBe(spec);
});

test('never changes a Map that it gave out', () => {
  const store = synced();
  const before = store.objects();
  store.feed(applied('a', 2, 'v3'));
  store.feed({ type: 'delete', key: 'b' });
  expect(before.get('a')?.spec.size).toBe(1);
  expect([...before.keys()]).toEqual(['a', 'b']);
  expect([...store.objects().keys()]).toEqual(['a']);
});

test('no longer tells who has unsubscribed', () => {
  const store = synced();
  let calls = 0;
  const stop = store.subscribe(() => (calls += 1));
  store.feed(applied('a', 2, 'v3'));
  stop();
  store.feed(applied('a', 3, 'v4'));
  expect(calls).toBe(1);
});

test('an object that cannot be read keeps its last state, also through a new set, until it can or is gone', () => {
  const unreadable = { type: 'undecodable', key: 'a', version: 'v3', error: new Error('no') } as const;
  const store = synced(unreadable);
  expect([sizeOf(store, 'a'), ...store.undecodable()]).toEqual([1, 'a']);
  for (const event of [{ type: 'init' } as const, unreadable, { type: 'initDone' } as const]) store.feed(event);
  expect([...store.objects().keys()]).toEqual(['a']);
  expect([...store.undecodable()]).toEqual(['a']);
  store.feed(applied('a', 4, 'v4'));
  expect([sizeOf(store, 'a'), store.undecodable().size]).toEqual([4, 0]);
  store.feed(unreadable);
  store.feed({ type: 'delete', key: 'a' });
  expect([sizeOf(store, 'a'), store.undecodable().size]).toEqual([undefined, 0]);
});

test('an object that could not be read in a set that was broken off, and then was gone, is gone', () => {
  const unreadable = { type: 'undecodable', key: 'a', version: 'v3', error: new Error('no') } as const;
  const store = synced({ type: 'init' }, unreadable, { type: 'init' }, initial('b', 1, 'v2'), { type: 'initDone' });
  expect([...store.objects().keys(), ...store.undecodable()]).toEqual(['b']);
});

test('an answer before the first set is not taken: nothing is shown before all is', () => {
  const store = storeWith();
  store.put(thing('a', 3), 'v5');
  expect(store.objects().size).toBe(0);
});

test('the answer of a write that changed nothing hides nothing', () => {
  const store = synced();
  store.put(thing('a', 1), 'v1');
  store.feed(applied('a', 2, 'v3'));
  expect(sizeOf(store, 'a')).toBe(2);
});

test('the answer of a write is seen at once, and older events do not overwrite it', () => {
  const store = synced();
  store.put(thing('a', 3), 'v5');
  expect([sizeOf(store, 'a'), store.versionOf('a')]).toEqual([3, 'v5']);
  store.feed(applied('a', 2, 'v4')); // somebody's write before ours
  expect([sizeOf(store, 'a'), store.versionOf('a')]).toEqual([3, 'v5']);
  const answered = store.objects().get('a');
  store.feed(applied('a', 3, 'v5')); // our echo
  expect(store.objects().get('a')).toBe(answered);
  store.feed(applied('a', 4, 'v6'));
  expect([sizeOf(store, 'a'), store.versionOf('a')]).toEqual([4, 'v6']);
});

test('of two writes the second holds until its own echo', () => {
  const store = synced();
  store.put(thing('a', 3), 'v5');
  store.put(thing('a', 4), 'v6');
  store.feed(applied('a', 3, 'v5'));
  expect(sizeOf(store, 'a')).toBe(4);
  store.feed(applied('a', 4, 'v6'));
  store.feed(applied('a', 5, 'v7'));
  expect(sizeOf(store, 'a')).toBe(5);
});

test('an answer that comes after its echo, or after its object is gone, is not taken', () => {
  const store = synced(applied('a', 3, 'v5'), applied('a', 4, 'v6'), { type: 'delete', key: 'b' });
  store.put(thing('a', 3), 'v5');
  store.put(thing('b', 3), 'v4');
  expect([sizeOf(store, 'a'), sizeOf(store, 'b')]).toEqual([4, undefined]);
});

test('an object of the same name that came after a deletion takes answers again', () => {
  const store = synced({ type: 'delete', key: 'a' }, applied('a', 1, 'v5', 'second'));
  store.put(thing('a', 3, 'second'), 'v6');
  expect(sizeOf(store, 'a')).toBe(3);
});

test('a deletion ends the write that hides it', () => {
  const store = synced();
  store.put(thing('a', 3), 'v5');
  store.feed({ type: 'delete', key: 'a' });
  expect(sizeOf(store, 'a')).toBeUndefined();
});

test('a set that was asked for after the write ends it; one from before does not', () => {
  const store = synced();
  store.feed({ type: 'init' });
  store.put(thing('a', 3), 'v5'); // the set may be older
  for (const event of [initial('a', 1, 'v1'), { type: 'initDone' } as const]) store.feed(event);
  expect(sizeOf(store, 'a')).toBe(3);
  for (const event of [{ type: 'init' } as const, initial('a', 9, 'v9'), { type: 'initDone' } as const])
    store.feed(event);
  expect(sizeOf(store, 'a')).toBe(9);
});

test('a version that the watch never brings hides its word for two bookmarks at most', () => {
  const store = synced();
  store.put(thing('a', 3), 'lost');
  store.feed(applied('a', 4, 'v6'));
  store.feed(bookmark);
  expect(sizeOf(store, 'a')).toBe(3);
  store.feed(bookmark);
  expect([sizeOf(store, 'a'), store.versionOf('a')]).toEqual([4, 'v6']);
});

test('after a set that skipped versions, answers for what it changed are not taken until two bookmarks later', () => {
  const store = synced();
  for (const event of [{ type: 'init' } as const, initial('a', 6, 'v6'), initial('b', 1, 'v2')]) store.feed(event);
  store.feed({ type: 'initDone' });
  store.put(thing('a', 5), 'v5');
  store.put(thing('b', 5), 'v7'); // not skipped: taken
  expect([sizeOf(store, 'a'), sizeOf(store, 'b')]).toEqual([6, 5]);
  store.feed(bookmark);
  store.feed(bookmark);
  store.put(thing('a', 8), 'v8');
  expect(sizeOf(store, 'a')).toBe(8);
});
