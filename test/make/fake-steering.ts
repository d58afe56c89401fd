import { unlessAborted } from '../../src/async/abort.ts';
import type { ListenerKey } from '../../src/core/model/names.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import { emptyTable, type Listener, usesHaproxy } from '../../src/core/traffic/table.ts';
import type { Steering, SteeringTarget } from '../../src/ports/steering.ts';
import { type FakeOutage, makeFakeOutage } from './fake-outage.ts';

/** A steering in memory, which keeps to the contract of the port. */
export type FakeSteering = {
  /** A test begins and ends it. */
  readonly outage: FakeOutage;
  readonly steering: Steering;
  /** The contents of the kernel; a test may change them like another program. */
  held: SteeringTarget;
};

const nothing: SteeringTarget = {
  listeners: emptyTable.listeners,
  serverless: new Set(),
  vips: PersistentMap.empty(),
  own: new Map(),
  portOf: () => 0,
};

/**
 * `refuse` returns nft's message for a refused listener, `refuseRemoval` for one that it does not remove. `step` is awaited
 * at the start of each call; its exception fails the call.
 */
export function makeFakeSteering({
  refuse = () => undefined,
  refuseRemoval = () => undefined,
  step = async () => undefined,
}: {
  readonly refuse?: (listener: Listener) => string | undefined;
  readonly refuseRemoval?: (listener: Listener) => string | undefined;
  readonly step?: (name: 'apply' | 'audit' | 'check') => Promise<void>;
} = {}): FakeSteering {
  /** The accepted target; `undefined`: there is no table. */
  let accepted: SteeringTarget | undefined;

  const isSteered = usesHaproxy;
  const wordsOf = (listener: Listener): string | undefined =>
    listener.protocol === 'TCP' ? refuse(listener) : `nftables steers only TCP to HAProxy, not ${listener.protocol}`;

  const outage = makeFakeOutage();
  const fake: FakeSteering = {
    outage,
    held: nothing,
    steering: {
      outage,
      apply: async (target, signal) => {
        await step('apply');
        signal.throwIfAborted();
        const refusals = new Map<ListenerKey, string>();
        for (const key of PersistentMap.changedKeys(accepted?.listeners ?? nothing.listeners, target.listeners)) {
          const [old, listener] = [accepted?.listeners.get(key), target.listeners.get(key)];
          const wanted = listener !== undefined && isSteered(listener) ? listener : undefined;
          const words = wanted === undefined ? old && refuseRemoval(old) : wordsOf(wanted);
          if (words !== undefined) refusals.set(key, words);
        }
        const kept = Array.from(refusals.keys(), (key) => [key, accepted?.listeners.get(key)] as const);
        const skipped = [...target.listeners.values()].flatMap((each) => (isSteered(each) ? [] : each.key));
        const listeners = target.listeners.with([...skipped.map((key) => [key, undefined] as const), ...kept]);
        accepted = { ...target, listeners };
        fake.held = accepted;
        return refusals;
      },
      refused: () => Promise.reject(new Error('not asked here')),
      audit: async (signal) => {
        await step('audit');
        signal.throwIfAborted();
        if (accepted === undefined || fake.held === accepted) return 0;
        fake.held = accepted;
        return 1;
      },
      check: async (signal) => {
        await step('check');
        signal.throwIfAborted();
        return 0;
      },
      run: (signal) => unlessAborted(new Promise<never>(() => undefined), signal),
      noteFacts: () => undefined,
      remove: async () => {
        const wasThere = accepted !== undefined;
        accepted = undefined;
        fake.held = nothing;
        return wasThere;
      },
    },
  };
  return fake;
}
