import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeStore } from './store.ts';
import type { WatchEvent } from './watch-event.ts';

/*
 * One object at a server that numbers its states, a watch that lags behind, and answers of our own writes that arrive
 * whenever they like, in order. The store must never show an older state after a newer one, and in the end the last.
 */
type Thing = { readonly key: string; readonly state: number };
type Action = 'our-write' | 'other-write' | 'deliver' | 'answer' | 'bookmark' | 'list-begins' | 'list-ends';

const actions = fc.array(
  fc.constantFrom<Action>('our-write', 'other-write', 'deliver', 'answer', 'bookmark', 'list-begins', 'list-ends'),
  { maxLength: 60 },
);

const versionOf = (state: number): string => `v${state}`;
const event = (type: 'apply' | 'initApply', state: number): WatchEvent<Thing> => ({
  type,
  key: 'x',
  version: versionOf(state),
  object: { key: 'x', state },
});

test('the store never goes back in time, and ends where the server is', () => {
  fc.assert(
    fc.property(actions, (schedule) => {
      const store = makeStore<Thing>({ keyOf: ({ key }) => key });
      let server = 1;
      let shown = 1;
      let underWay: WatchEvent<Thing>[] = [];
      let answers: number[] = [];
      let listed: number | undefined; // the state that a running list will give

      const check = (): void => {
        const now = store.objects().get('x')?.state ?? 0;
        expect(now).toBeGreaterThanOrEqual(shown);
        expect(store.versionOf('x')).toBe(versionOf(now));
        shown = now;
      };
      const write = (): void => {
        server += 1;
        underWay.push(event('apply', server));
      };
      const perform: Readonly<Record<Action, () => void>> = {
        'our-write': () => {
          write();
          answers.push(server);
        },
        'other-write': write,
        deliver: () => {
          const [next, ...rest] = underWay;
          if (next === undefined || listed !== undefined) return;
          underWay = rest;
          store.feed(next);
        },
        answer: () => {
          const [state, ...rest] = answers;
          if (state === undefined) return;
          answers = rest;
          store.put({ key: 'x', state }, versionOf(state));
        },
        bookmark: () => {
          // They come a minute apart: never two under way.
          if (!underWay.some(({ type }) => type === 'bookmark')) underWay.push({ type: 'bookmark' });
        },
        'list-begins': () => {
          store.feed({ type: 'init' });
          listed = server;
          underWay = []; // what comes after the list comes again, from its version on
        },
        'list-ends': () => {
          if (listed === undefined) return;
          store.feed(event('initApply', listed));
          store.feed({ type: 'initDone' });
          listed = undefined;
        },
      };

      perform['list-begins']();
      perform['list-ends']();
      for (const action of schedule) {
        perform[action]();
        check();
      }
      perform['list-ends']();
      for (const last of [...underWay, { type: 'bookmark' } as const, { type: 'bookmark' } as const]) store.feed(last);
      check();
      expect(shown).toBe(server);
    }),
    { numRuns: 2_000 },
  );
});
