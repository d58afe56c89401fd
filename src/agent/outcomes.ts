import type { ListenerKey } from '../core/model/names.ts';
import type { Listener, Listeners, TrafficTable } from '../core/traffic/table.ts';
import type { Refusals } from '../ports/host.ts';
import { type Gap, type HostState, inForceOf, isOfOneService, type ListenerState, stateOf } from './host-state.ts';
import { asInForce, withListeners } from './listener-changes.ts';
import type { Stage, StageFailure } from './stages.ts';

/** What a pass finds out about the listeners that cannot be in force as in its target. */
export type Outcomes = {
  /** Its words, of each listener that a tool has refused or put off in this pass. */
  refused(): ReadonlyMap<ListenerKey, string>;
  refuse(refusals: Refusals<ListenerKey>): void;
  block(listeners: readonly Listener[], stage: Stage, failure: StageFailure | undefined): void;
  /** HAProxy serves `listener` until a reload. Without words it has said so in an earlier pass. */
  defer(listener: Listener, words: string | undefined): void;
  /** `listener` is in force in place of a stuck one of `direct`. */
  standAlone(listener: Listener): void;
  /** These wait for HAProxy. */
  lackProxy(listeners: readonly Listener[]): void;
  /** What an earlier process programmed for the same Services counts as in force: all of it, or these listeners. */
  inherit(keys?: Iterable<ListenerKey>): void;
  /** Whether the listener stays as it is in force. */
  readonly isStuck: (listener: Listener) => boolean;
  /** Before this pass. */
  stateOf(key: ListenerKey): ListenerState | undefined;
  /** The listeners that were certainly in force before this pass, with their addresses. */
  inForce(): Listeners;
  /** The target with every refused or blocked listener as it is in force, or without it. */
  table(): TrafficTable;
  /** The state of a listener of the target after this pass; `undefined`: it is in force as there. */
  after(key: ListenerKey, found: Found): ListenerState | undefined;
};

/** What a pass knows at its end about a listener that it has tried to change. */
type Found = {
  /** A stage is not done, or only in part. */
  readonly isUncertain: boolean;
  /** What the kernel has, or may have. */
  readonly programmed: Listener | undefined;
};

type OpenOutcome = {
  readonly gap: Gap;
  /** In force in its place, with or without HAProxy. */
  readonly instead?: Pick<ListenerState, 'lacksProxy'> & { readonly held: Listener };
};

function blockOf(stage: Stage, failure: StageFailure | undefined): Gap['is'] {
  if (failure?.isDown === true) return 'down';
  return stage === 'proxy' && failure !== undefined ? 'unchanged' : 'blocked';
}

/** Not by a stage that is not done. */
const isAnswer = (gap: Gap | undefined): boolean => gap?.is === 'refused' || gap?.is === 'deferred';

export function makeOutcomes(target: TrafficTable, before: HostState): Outcomes {
  const outcomes = new Map<ListenerKey, OpenOutcome>();
  const answered = new Map<ListenerKey, string>();
  /** What is known by now about listeners as they were before. */
  const known = new Map<ListenerKey, ListenerState>();
  const was = (key: ListenerKey): ListenerState | undefined => known.get(key) ?? stateOf(before, key);
  const isStuck = ({ key }: Pick<Listener, 'key'>): boolean => {
    const outcome = outcomes.get(key);
    return outcome !== undefined && outcome.instead === undefined;
  };
  const kept = (key: ListenerKey): Listener | undefined => asInForce(was(key), target.listeners.get(key));
  /** While a tool does not answer, the words of its last answer stand. */
  const lasting = (gap: Gap, state: ListenerState | undefined, wanted: Listener | undefined): Gap =>
    gap.words === undefined && state?.wanted?.revision === wanted?.revision ? (state?.gap ?? gap) : gap;
  return {
    refused: () => new Map([...answered].filter(([key]) => isAnswer(outcomes.get(key)?.gap))),
    refuse: (refusals) => {
      for (const [key, words] of refusals) {
        if (isStuck({ key }) && outcomes.get(key)?.gap.is === 'refused') continue;
        outcomes.set(key, { gap: { is: 'refused', words } });
        answered.set(key, words);
      }
    },
    block: (listeners, stage, failure) => {
      for (const listener of listeners) {
        if (isStuck(listener)) continue;
        const standIn = stage === 'nat' && listener.standIn === 'nat' ? 'nat cannot stand in for direct: ' : '';
        const words = failure && `${standIn}${failure.words}`;
        outcomes.set(listener.key, { gap: { is: blockOf(stage, failure), words } });
      }
    },
    defer: (held, words) => {
      outcomes.set(held.key, { gap: { is: 'deferred', words }, instead: { held, lacksProxy: false } });
      if (words !== undefined) answered.set(held.key, words);
    },
    standAlone: (held) => {
      const outcome = outcomes.get(held.key);
      if (outcome !== undefined) outcomes.set(held.key, { ...outcome, instead: { held, lacksProxy: true } });
    },
    lackProxy: (listeners) => {
      for (const { key, dataplane } of listeners) {
        const state = was(key);
        if (inForceOf(state) !== undefined && dataplane === 'haproxy') known.set(key, { ...state!, lacksProxy: true });
      }
    },
    inherit: (keys = before.open.keys()) => {
      for (const key of keys) {
        const [state, wanted] = [before.open.get(key), target.listeners.get(key)];
        if (wanted !== undefined && state?.held !== undefined && isOfOneService(wanted, state.held))
          known.set(key, { ...state, inForce: 'perhaps' });
      }
    },
    isStuck,
    stateOf: was,
    inForce: () =>
      before.settled.with(
        Array.from([...before.open.keys()], (key) => [key, was(key)?.inForce === 'yes' ? was(key)?.held : undefined]),
      ),
    table: () =>
      withListeners(
        target,
        Array.from(outcomes, ([key, { instead }]) => [key, instead?.held ?? kept(key)] as const),
      ),
    after: (key, { isUncertain, programmed }) => {
      const outcome = outcomes.get(key);
      if (outcome === undefined) return undefined;
      const { instead } = outcome;
      const wanted = target.listeners.get(key);
      const gap = lasting(outcome.gap, was(key), wanted);
      if (instead !== undefined) return { wanted, ...instead, inForce: 'yes', gap };
      const [held, state] = [kept(key), was(key)];
      // The tools have it as wanted, but its address is missing; or they may have it.
      if (programmed !== undefined && programmed.revision !== held?.revision)
        return { wanted, held: programmed, inForce: 'perhaps', lacksProxy: false, gap };
      // Nothing has the listener, but its connections have not been ended.
      if (held === undefined || state === undefined)
        return { wanted, held: state?.held, inForce: 'no', lacksProxy: false, gap };
      return { ...state, wanted, held, inForce: isUncertain ? 'perhaps' : state.inForce, gap };
    },
  };
}
