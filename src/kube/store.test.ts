import { expect, test } from 'vitest';
import { makeStore, type Store } from './store.ts';
import type { WatchEvent } from './watch-event.ts';

type Thing = { readonly key: string; readonly note: string; readonly spec: { readonly size: number } };

const thing = (key: string, size: number): Thing => ({ key, note: '', spec: { size } });
const eventOf =
  (type: 'apply' | 'initApply') =>
  (key: string, size: number, version: string): WatchEvent<Thing> => ({ type, key, version, object: thing(key, size) });
const applied = eventOf('apply');
const initial = eventOf('initApply');
const deleted = (key: string, version: string): WatchEvent<Thing> => ({ type: 'delete', key, version });
const done = (version: string): WatchEvent<Thing> => ({ type: 'initDone', version });
const unreadable = { type: 'undecodable', key: 'a', version: '3', error: new Error('no') } as const;

function storeWith(...events: readonly WatchEvent<Thing>[]): Store<Thing> {
  const store = makeStore<Thing>({ keyOf: ({ key }) => key });
  for (const event of [{ type: 'init' } as const, ...events]) store.feed(event);
  return store;
}

const synced = (...events: readonly WatchEvent<Thing>[]): Store<Thing> =>
  storeWith(initial('a', 1, '1'), initial('b', 1, '2'), done('2'), ...events);

const sizeOf = (store: Store<Thing>, key: string): number | undefined => store.objects().get(key)?.spec.size;

test('shows no objects until the first set is complete', async () => {
  const store = storeWith(initial('a', 1, '1'));
  expect([store.isSynced, store.objects().size]).toEqual([false, 0]);
  store.feed(done('2'));
  await store.synced;
  expect([store.isSynced, store.objects().size]).toEqual([true, 1]);
});

test('starts over if a first set is interrupted', () => {
  const store = storeWith(initial('a', 1, '1'), { type: 'init' }, initial('b', 1, '2'), done('2'));
  expect([...store.objects().keys()]).toEqual(['b']);
});

test('a new set replaces the old one at once, and all changes are reported together', () => {
  const store = synced();
  const told: string[][] = [];
  store.subscribe((keys) => told.push([...keys].toSorted()));
  const before = store.objects();
  for (const event of [{ type: 'init' } as const, initial('b', 1, '2'), initial('c', 1, '3')]) store.feed(event);
  expect(store.objects()).toBe(before);
  store.feed(done('3'));
  expect([...store.objects().keys()].toSorted()).toEqual(['b', 'c']);
  expect(told).toEqual([['a', 'c']]);
});

test('an object that is equal keeps its reference, nothing is reported, and its version still changes', () => {
  const store = synced();
  const told: unknown[] = [];
  store.subscribe((keys) => told.push(keys));
  const [before, object] = [store.objects(), store.objects().get('a')];
  store.feed(applied('a', 1, '9'));
  expect(store.objects()).toBe(before);
  expect(store.objects().get('a')).toBe(object);
  expect(store.versionOf('a')).toBe('9');
  expect(told).toEqual([]);
});

test('keeps the identity of the parts that did not change', () => {
  const store = synced();
  const { spec } = store.objects().get('a') ?? {};
  store.feed({ type: 'apply', key: 'a', version: '9', object: { ...thing('a', 1), note: 'new' } });
  expect(store.objects().get('a')?.note).toBe('new');
  expect(store.objects().get('a')?.spec).toBe(spec);
});

test('a returned map never changes', () => {
  const store = synced();
  const before = store.objects();
  store.feed(applied('a', 2, '3'));
  store.feed(deleted('b', '4'));
  expect(before.get('a')?.spec.size).toBe(1);
  expect([...before.keys()]).toEqual(['a', 'b']);
  expect([...store.objects().keys()]).toEqual(['a']);
});

test('a subscription that has ended is not called again', () => {
  const store = synced();
  let calls = 0;
  const stop = store.subscribe(() => (calls += 1));
  store.feed(applied('a', 2, '3'));
  stop();
  store.feed(applied('a', 3, '4'));
  expect(calls).toBe(1);
});

test('an object that cannot be read keeps its last state, also through a new set, until it can be read or is deleted', () => {
  const store = synced(unreadable);
  expect(sizeOf(store, 'a')).toBe(1);
  for (const event of [{ type: 'init' } as const, unreadable, done('3')]) store.feed(event);
  expect([...store.objects().keys()]).toEqual(['a']);
  store.feed(applied('a', 4, '4'));
  expect(sizeOf(store, 'a')).toBe(4);
  store.feed({ ...unreadable, version: '5' });
  store.feed(deleted('a', '6'));
  expect(sizeOf(store, 'a')).toBeUndefined();
});

test('an object that was unreadable in an interrupted set, and deleted afterwards, does not stay', () => {
  const store = synced({ type: 'init' }, unreadable, { type: 'init' }, initial('b', 1, '2'), done('4'));
  expect([...store.objects().keys()]).toEqual(['b']);
});

test('an answer before the first set is ignored: no objects are shown before the set is complete', () => {
  const store = storeWith();
  store.put(thing('a', 3), '5');
  expect(store.objects().size).toBe(0);
});

test('the answer to a write without changes hides no state', () => {
  const store = synced();
  store.put(thing('a', 1), '1');
  store.feed(applied('a', 2, '3'));
  expect(sizeOf(store, 'a')).toBe(2);
});

test('the answer to a write is shown at once, and older events do not overwrite it', () => {
  const store = synced();
  store.put(thing('a', 3), '10');
  expect([sizeOf(store, 'a'), store.versionOf('a')]).toEqual([3, '10']);
  store.feed(applied('a', 2, '9')); // another client's earlier write: as text, '9' is the greater one
  expect([sizeOf(store, 'a'), store.versionOf('a')]).toEqual([3, '10']);
  const answered = store.objects().get('a');
  store.feed(applied('a', 3, '10'));
  expect(store.objects().get('a')).toBe(answered);
  store.feed(applied('a', 4, '11'));
  expect([sizeOf(store, 'a'), store.versionOf('a')]).toEqual([4, '11']);
});

test('a write without an event is overwritten by the next newer event', () => {
  const store = synced();
  store.put(thing('a', 3), '5');
  store.feed(applied('a', 4, '6'));
  expect([sizeOf(store, 'a'), store.versionOf('a')]).toEqual([4, '6']);
});

test('of two answers the newer one wins, in any order of arrival', () => {
  const store = synced();
  store.put(thing('a', 4), '6');
  store.put(thing('a', 3), '5');
  expect(sizeOf(store, 'a')).toBe(4);
  store.feed(applied('a', 3, '5'));
  expect(sizeOf(store, 'a')).toBe(4);
});

test('an answer that arrives after its event, or after the deletion of its object, is ignored', () => {
  const store = synced(applied('a', 3, '5'), applied('a', 4, '6'), deleted('b', '7'));
  store.put(thing('a', 3), '5');
  store.put(thing('b', 3), '4');
  expect([sizeOf(store, 'a'), sizeOf(store, 'b')]).toEqual([4, undefined]);
});

test('a deletion removes what was put before it, but not an object that was created after it', () => {
  const store = synced();
  store.put(thing('a', 3), '5');
  store.put(thing('b', 3), '8');
  store.feed(deleted('a', '6'));
  store.feed(deleted('b', '7'));
  expect([sizeOf(store, 'a'), sizeOf(store, 'b')]).toEqual([undefined, 3]);
});

test('a set keeps only answers to writes that are newer than the set', () => {
  const store = synced();
  store.put(thing('b', 7), '3');
  store.feed({ type: 'init' });
  store.put(thing('a', 3), '9');
  store.put(thing('b', 4), '5');
  for (const event of [initial('a', 1, '1'), initial('b', 6, '6'), done('6')]) store.feed(event);
  expect([sizeOf(store, 'a'), sizeOf(store, 'b')]).toEqual([3, 6]);
});

test('a set is authoritative even if its versions are lower than the known ones: etcd was restored from a backup', () => {
  const store = synced(applied('a', 9, '90'));
  store.put(thing('b', 9), '95');
  for (const event of [{ type: 'init' } as const, initial('a', 5, '50'), done('51')]) store.feed(event);
  expect([sizeOf(store, 'a'), sizeOf(store, 'b')]).toEqual([5, undefined]);
  store.feed(applied('a', 6, '52'));
  store.put(thing('b', 7), '53');
  expect([sizeOf(store, 'a'), sizeOf(store, 'b')]).toEqual([6, 7]);
});

test('if versions cannot be compared only the watch counts', () => {
  const store = storeWith(initial('a', 1, 'rv1'), done('rv1'));
  store.put(thing('a', 3), 'rv5');
  expect(sizeOf(store, 'a')).toBe(1);
  store.feed(applied('a', 2, 'rv4'));
  store.feed(deleted('b', 'rv6'));
  expect([sizeOf(store, 'a'), store.versionOf('a')]).toEqual([2, 'rv4']);
});
