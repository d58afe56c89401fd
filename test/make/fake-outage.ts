import { makeSubscribers } from '../../src/async/subscribers.ts';
import type { TableOutage } from '../../src/ports/host-table.ts';

/** The outage of a table, which a test begins and ends. */
export type FakeOutage = TableOutage & { set(words: string | undefined): void };

export function makeFakeOutage(): FakeOutage {
  const { subscribe, tell } = makeSubscribers();
  let now: string | undefined;
  return {
    words: () => now,
    subscribe,
    set: (words) => {
      now = words;
      tell();
    },
  };
}
