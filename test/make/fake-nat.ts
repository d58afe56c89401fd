import { unlessAborted } from '../../src/async/abort.ts';
import { emptyTable, type Listener, type TrafficTable, usesNat } from '../../src/core/traffic/table.ts';
import type { Nat } from '../../src/ports/nat.ts';

/** The kernel of the `nat` dataplane, in memory. */
export type FakeNat = {
  readonly nat: Nat;
  /** What is in the kernel; a test may change it like another program. */
  held: TrafficTable;
};

/** `refuse` returns nft's message for a refused listener. `step` is awaited at the start of each call; its exception fails it. */
export function makeFakeNat({
  refuse = () => undefined,
  step = async () => undefined,
}: {
  readonly refuse?: (listener: Listener) => string | undefined;
  readonly step?: (name: 'apply' | 'audit') => Promise<void>;
} = {}): FakeNat {
  let accepted = emptyTable;
  const fake: FakeNat = {
    held: emptyTable,
    nat: {
      apply: async (table, signal) => {
        await step('apply');
        signal.throwIfAborted();
        const all = [...table.listeners.values()];
        const refusals = new Map(
          all.flatMap((listener) => {
            const words = usesNat(listener) ? refuse(listener) : undefined;
            return words === undefined ? [] : [[listener.key, words] as const];
          }),
        );
        const listeners = table.listeners
          .with(all.filter((each) => !usesNat(each)).map(({ key }) => [key, undefined]))
          .with(Array.from(refusals.keys(), (key) => [key, accepted.listeners.get(key)]));
        accepted = { ...table, listeners };
        fake.held = accepted;
        return refusals;
      },
      audit: async (signal) => {
        await step('audit');
        signal.throwIfAborted();
        const repairs = fake.held === accepted ? 0 : 1;
        fake.held = accepted;
        return repairs;
      },
      run: (signal) => unlessAborted(new Promise<never>(() => undefined), signal),
      remove: async () => {
        accepted = emptyTable;
        fake.held = accepted;
      },
    },
  };
  return fake;
}
