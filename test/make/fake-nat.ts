import { unlessAborted } from '../../src/async/abort.ts';
import type { ListenerKey, ServiceKey } from '../../src/core/model/names.ts';
import { emptyTable, type Listener, type TrafficTable, usesNat } from '../../src/core/traffic/table.ts';
import type { Nat } from '../../src/ports/nat.ts';
import { type FakeOutage, makeFakeOutage } from './fake-outage.ts';

/** The kernel of the `nat` dataplane, in memory. */
export type FakeNat = {
  /** A test begins and ends it. */
  readonly outage: FakeOutage;
  readonly nat: Nat;
  /** What is in the kernel; a test may change it like another program. */
  held: TrafficTable;
};

/**
 * `refuse` returns nft's message for a refused listener. `step` is awaited at the start of each call; its exception fails it.
 * `sweep` fails while conntrack cannot be asked.
 */
export function makeFakeNat({
  refuse = () => undefined,
  step = async () => undefined,
  sweep = () => undefined,
}: {
  readonly refuse?: (listener: Listener) => string | undefined;
  readonly step?: (name: 'prepare' | 'apply' | 'audit' | 'check') => Promise<void>;
  readonly sweep?: () => void;
} = {}): FakeNat {
  let accepted = emptyTable;
  /** Listeners whose flows may be left, of a Service that had them. */
  const left = new Map<ListenerKey, ServiceKey>();
  /** Why they could not be ended; `undefined`: none is left. */
  const endFlows = (): string | undefined => {
    if (left.size === 0) return undefined;
    try {
      sweep();
      left.clear();
      return undefined;
    } catch (error) {
      return `the flows of the Service that had this port could not be ended: ${String(error)}`;
    }
  };
  /** Why the flows of another Service are still there. */
  const unswept = ({ key, service }: Listener): string | undefined => {
    const former = left.get(key);
    return former === undefined || former === service ? undefined : endFlows();
  };
  const waitingWords = 'the flows of the Service that had this port have not ended yet';
  const isOther = ({ key, service }: Listener): boolean => left.has(key) && left.get(key) !== service;
  const take = async (
    name: 'prepare' | 'apply',
    table: TrafficTable,
    signal: AbortSignal,
  ): ReturnType<Nat['apply']> => {
    await step(name);
    signal.throwIfAborted();
    for (const { key, service } of accepted.listeners.values())
      if (table.listeners.get(key)?.service !== service) left.set(key, service);
    const all = [...table.listeners.values()];
    const wanted = all.filter(usesNat);
    const refusals = new Map(
      wanted.flatMap((listener) => {
        const isWaiting = name === 'prepare' && isOther(listener);
        const words = refuse(listener) ?? (isWaiting ? waitingWords : unswept(listener));
        return words === undefined ? [] : [[listener.key, words] as const];
      }),
    );
    if (name === 'apply') endFlows();
    const listeners = table.listeners
      .with(all.filter((each) => !wanted.includes(each)).map(({ key }) => [key, undefined]))
      .with(Array.from(refusals.keys(), (key) => [key, left.has(key) ? undefined : accepted.listeners.get(key)]));
    accepted = { ...table, listeners };
    fake.held = accepted;
    return refusals;
  };
  const outage = makeFakeOutage();
  const fake: FakeNat = {
    outage,
    held: emptyTable,
    nat: {
      outage,
      prepare: (table, signal) => take('prepare', table, signal),
      apply: (table, signal) => take('apply', table, signal),
      counters: async (_signal, keys) => {
        const { listeners } = fake.held;
        const zero = { flows: 0, packetsIn: 0, bytesIn: 0, packetsOut: 0, bytesOut: 0, refused: 0 };
        return new Map(
          Array.from(keys ?? listeners.keys()).flatMap((key) => (listeners.has(key) ? [[key, zero]] : [])),
        );
      },
      audit: async (signal) => {
        await step('audit');
        signal.throwIfAborted();
        const repairs = fake.held === accepted ? 0 : 1;
        fake.held = accepted;
        return repairs;
      },
      noteFacts: () => undefined,
      check: async (signal) => {
        await step('check');
        signal.throwIfAborted();
        return 0;
      },
      run: (signal) => unlessAborted(new Promise<never>(() => undefined), signal),
      remove: async () => {
        const wasThere = accepted !== emptyTable;
        accepted = emptyTable;
        fake.held = accepted;
        return wasThere;
      },
    },
  };
  return fake;
}
