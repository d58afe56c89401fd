import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isNewer } from './resource-version.ts';
import { makeStore } from './store.ts';
import type { WatchEvent } from './watch-event.ts';

/*
 * Two objects at a server with one revision, a watch that lags behind, lists, answers to writes that arrive in any
 * order and with any delay, a watch that ends and is resumed as `watchResource` does it, and etcd restored from a backup.
 * The store must never show an older state after a newer one, nor an object whose deletion it has seen, and in the end
 * it must equal the server.
 */
type Revised = { readonly key: string; readonly revision: number };
type Key = 'x' | 'y';
type Action =
  | { readonly type: 'write' | 'write-and-put' | 'delete'; readonly key: Key }
  | { readonly type: 'deliver' | 'list-begins' | 'list-is-taken' | 'list-ends' | 'break' | 'backup' | 'restore' }
  | { readonly type: 'answer'; readonly which: number };

const key = fc.constantFrom<Key>('x', 'y');
const actions = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ type: fc.constantFrom('write', 'write-and-put', 'delete'), key }) },
    { weight: 3, arbitrary: fc.record({ type: fc.constant('answer'), which: fc.nat(5) }) },
    { weight: 5, arbitrary: fc.record({ type: fc.constant('deliver') }) },
    {
      weight: 3,
      arbitrary: fc.record({
        type: fc.constantFrom('list-begins', 'list-is-taken', 'list-ends', 'break', 'backup', 'restore'),
      }),
    },
  ) as fc.Arbitrary<Action>,
  { maxLength: 80 },
);

type Change = { readonly revision: number; readonly event: WatchEvent<Revised> };
type ServerSet = {
  readonly revision: number;
  readonly objects: ReadonlyMap<Key, number>;
  readonly history: readonly Change[];
};

test.each([
  ['that can be compared', (revision: number) => String(revision)],
  ['that cannot be compared', (revision: number) => `rv${revision}`],
])('with versions %s the store never goes back in time, and finally equals the server', (_, text) => {
  fc.assert(
    fc.property(actions, (schedule) => {
      const store = makeStore<Revised, Key>({ keyOf: (thing) => thing.key as Key });
      let server: ServerSet = { revision: 8, objects: new Map([['x', 8]]), history: [] };
      let backup = server;
      let underWay: readonly Change[] = [];
      let position = 0; // what the watch has brought
      let answers: Revised[] = [];
      let listed: ServerSet | undefined; // the future result of a running list
      let isListing = false;
      let mayGoBack = false;
      const shown = new Map<Key, number>(); // newest revision, of the object or of its deletion, that the store has shown

      const check = (): void => {
        for (const each of ['x', 'y'] as const) {
          const now = store.objects().get(each);
          if (now === undefined) continue;
          expect(now.revision).toBeGreaterThanOrEqual(shown.get(each) ?? 0);
          expect(store.versionOf(each)).toBe(text(now.revision));
          shown.set(each, now.revision);
        }
      };
      const feed = (event: WatchEvent<Revised>): void => {
        store.feed(event);
        check();
      };
      const commit = (of: Key, isDeletion: boolean): number => {
        const revision = server.revision + 1;
        const objects = new Map(server.objects);
        if (isDeletion) objects.delete(of);
        else objects.set(of, revision);
        const at = { key: of, version: text(revision) };
        const event: WatchEvent<Revised> = isDeletion
          ? { type: 'delete', ...at }
          : { type: 'apply', ...at, object: { key: of, revision } };
        server = { revision, objects, history: [...server.history, { revision, event }] };
        underWay = [...underWay, { revision, event }];
        return revision;
      };
      const listBegins = (): void => {
        isListing = true;
        listed = undefined;
        feed({ type: 'init' });
      };
      const listEnds = (): void => {
        if (!isListing) return;
        const { revision, objects } = listed ?? server;
        for (const [of, at] of objects)
          feed({ type: 'initApply', key: of, version: text(at), object: { key: of, revision: at } });
        if (mayGoBack) shown.clear();
        feed({ type: 'initDone', version: text(revision) });
        for (const each of ['x', 'y'] as const)
          if (!store.objects().has(each)) shown.set(each, Math.max(shown.get(each) ?? 0, revision));
        underWay = server.history.filter((change) => change.revision > revision);
        position = revision;
        isListing = mayGoBack = false;
      };
      const deliver = (): void => {
        const [next, ...rest] = underWay;
        if (next === undefined || isListing) return;
        underWay = rest;
        const { event, revision } = next;
        feed(event);
        position = revision;
        if (event.type === 'delete') shown.set(event.key as Key, Math.max(shown.get(event.key as Key) ?? 0, revision));
      };
      const resume = (): void => {
        const canResume = position <= server.revision && !isNewer(store.newestAnswer(), text(position));
        if (isListing || !canResume) return listBegins();
        underWay = server.history.filter((change) => change.revision > position);
      };
      const perform = (action: Action): void => {
        switch (action.type) {
          case 'write':
            return void commit(action.key, false);
          case 'write-and-put':
            return void answers.push({ key: action.key, revision: commit(action.key, false) });
          case 'delete':
            return void (server.objects.has(action.key) && commit(action.key, true));
          case 'deliver':
            return deliver();
          case 'answer': {
            const answer = answers[action.which % Math.max(1, answers.length)];
            if (answer === undefined) return;
            answers = answers.filter((other) => other !== answer);
            store.put(answer, text(answer.revision));
            return check();
          }
          case 'list-begins':
            return listBegins();
          case 'list-is-taken':
            return void (isListing && (listed ??= server));
          case 'list-ends':
            return listEnds();
          case 'break':
            return resume();
          case 'backup':
            backup = server;
            return;
          case 'restore': // all connections break
            server = backup;
            answers = [];
            resume();
            mayGoBack = isListing;
            return;
        }
      };

      listBegins();
      listEnds();
      for (const action of schedule) perform(action);
      listEnds();
      while (underWay.length > 0) deliver();
      expect(new Map(Array.from(store.objects(), ([each, { revision }]) => [each, revision]))).toEqual(server.objects);
    }),
    { numRuns: 3_000 },
  );
});
