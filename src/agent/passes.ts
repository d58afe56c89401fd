import { makeLatch, waitAtMost } from '../async/latch.ts';
import type { Serial } from '../async/serial.ts';
import type { ListenerKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { isSameTable } from '../core/traffic/same-table.ts';
import { type Listeners, type TrafficTable } from '../core/traffic/table.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import {
  emptyHostState,
  type Gap,
  heldFromBefore,
  type HostState,
  inForceOf,
  lacksAddresses,
  stateOf,
  withoutPlaced,
} from './host-state.ts';
import { withListeners } from './listener-changes.ts';
import { makePass } from './pass.ts';
import type { PassPorts } from './steps.ts';
import { makePassMetrics } from './pass-metrics.ts';
import { makeQuarantine } from './quarantine.ts';
import { makeStages, type Stage } from './stages.ts';

/** Makes passes until the host is as wanted: after each change, and after the waits of what was refused or failed. */
export type Passes = {
  /** The listeners of the host by the last pass, and during one. */
  state(): HostState;
  /** What an earlier process may have programmed. */
  setHeld(held: Listeners): void;
  /** Why a listener is not in force as wanted; `undefined`: it is, or a pass is to try it. */
  gapOf(key: ListenerKey): Gap | undefined;
  /** Whether every stage of a pass is done, and if not, why; see `Stages`. */
  areDone(): boolean;
  troubles(): readonly string[];
  isUnsettled(...of: readonly Stage[]): boolean;
  /** There may be something to do. */
  wake(): void;
  /** HAProxy serves again: what failed without it is tried at once. */
  resumeHaproxy(): void;
  /**
   * This host may serve from now on, or no longer: the next pass is made though nothing else is new, and ignores all waits
   * after failures.
   */
  hurry(): void;
  /** The kernel may have removed addresses, and takes them again: those that were placed are added at once. */
  placeAgain(): void;
  /** The pass after the last call of `hurry` has not ended. */
  isHurried(): boolean;
  run(signal: AbortSignal): Promise<void>;
};

export function makePasses(deps: {
  readonly ports: PassPorts;
  /** What the host is to serve; `undefined`: not known yet. */
  readonly target: () => TrafficTable | undefined;
  /** Called with the listeners whose state may have changed, before anything is programmed and after each pass. */
  readonly onChange: (keys: ReadonlySet<ListenerKey>) => void;
  /** Called after each pass. */
  readonly onPass: () => void;
  /** Called when `isHurried` becomes false, and when addresses are there that were missing after a pass. */
  readonly onHurried: () => void;
  /** One change of the host at a time. */
  readonly inTurn: Serial;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}): Passes {
  const { ports, target, onChange, onPass, onHurried, inTurn, clock, log, metrics } = deps;
  const count = makePassMetrics(metrics);
  let state = emptyHostState;
  /** By the last pass: until a stage that is not done is due, the same one changes nothing. */
  let lastTried: TrafficTable | undefined;
  /** By the last pass: HAProxy must answer first. */
  let mustWait = false;
  /** Calls of `hurry`: all, and those before the last pass. */
  const hurries = { made: 0, served: 0 };
  const isHurried = (): boolean => hurries.made !== hurries.served;
  const quarantine = makeQuarantine({ log, clock });
  const wake = makeLatch();
  /** Set when the host must withdraw, or may serve: this ends the wait after a failure. */
  const urgent = makeLatch();
  const onLateEnd = (): void => {
    lastTried = undefined;
    wake.set();
    urgent.set();
  };
  const stages = makeStages({
    isHaproxySlow: () => ports.proxied.isSlow(),
    onEnd: count.attempt,
    onLateEnd,
    clock,
    log,
  });

  const pass = async (wanted: TrafficTable, signal: AbortSignal): Promise<void> => {
    const startedAt = clock.monotonic();
    const postponed = quarantine.postponed(wanted.listeners, startedAt);
    const tried = withListeners(
      wanted,
      Array.from(postponed, (key) => [key, inForceOf(stateOf(state, key))] as const),
    );
    const attempts = stages.begin();
    const isUpToDate = [state.programmed?.table, lastTried].some((table) => table && isSameTable(table, tried));
    const hurriesBefore = hurries.made;
    if (isUpToDate && !isHurried() && !attempts.areDue && !quarantine.isDue(startedAt)) return;
    const before = state;
    const begunKeys = new Set<ListenerKey>();
    const onBegin = (begun: HostState): void => {
      const keys = new Set([
        ...changedBetween(state, begun),
        ...PersistentMap.changedKeys(begun.settled, begun.underWay ?? begun.settled),
      ]);
      for (const key of keys) begunKeys.add(key);
      state = begun;
      onChange(keys);
    };
    const result = await makePass(ports, state, tried, {
      postponed,
      onBegin,
      stages: attempts,
      isOvertaken: () => hurries.made !== hurriesBefore,
      signal,
    });
    const { refused } = result;
    ({ state, mustWait } = result);
    lastTried = refused.size === 0 ? tried : undefined;
    attempts.end();
    const nowMs = clock.monotonic();
    quarantine.note({ tried: tried.listeners, postponed, refused, state }, nowMs);
    const inForce = state.settled.size + [...state.open.values()].filter((each) => each.inForce !== 'no').length;
    count.pass({ ms: nowMs - startedAt, refused: refused.size, inForce, quarantined: quarantine.size() });
    hurries.served = hurriesBefore;
    onChange(new Set([...begunKeys, ...changedBetween(before, state)]));
  };

  /** Until a change or the end of a wait. While steering is not done, or must wait for HAProxy, changes wait, too. */
  const untilDue = async (signal: AbortSignal): Promise<void> => {
    const isStuck = mustWait || stages.blockage() !== undefined;
    const dueMs = Math.min(stages.dueMs() ?? Infinity, isStuck ? Infinity : quarantine.nextDueMs());
    const news = isStuck ? urgent : wake;
    if (dueMs === Infinity) return await news.wait(signal);
    await waitAtMost(dueMs - clock.monotonic(), news, clock, signal);
  };

  const hurry = (): void => {
    hurries.made++;
    state = withoutPlaced(state);
    stages.hurry();
    wake.set();
    urgent.set();
  };

  return {
    state: () => state,
    setHeld: (held) => {
      state = heldFromBefore(held);
    },
    gapOf: (key) => {
      const gap = stateOf(state, key)?.gap;
      const blockage = stages.blockage();
      return gap?.words === undefined && blockage !== undefined ? { is: 'blocked', ...blockage } : gap;
    },
    areDone: () => stages.areDone(),
    troubles: () => stages.troubles(),
    isUnsettled: (...of) => stages.isUnsettled(...of),
    wake: () => wake.set(),
    resumeHaproxy: () => {
      stages.resumeHaproxy();
      wake.set();
      urgent.set();
    },
    hurry,
    placeAgain: () => {
      if (state.programmed !== undefined && state.programmed.placed.size > 0) hurry();
    },
    isHurried,
    run: async (signal) => {
      for (;;) {
        await untilDue(signal);
        const wanted = target();
        if (wanted === undefined) continue;
        const [wasHurried, before] = [isHurried(), state];
        await inTurn(() => pass(wanted, signal));
        const arePlaced = lacksAddresses(before) && state.programmed?.placed !== before.programmed?.placed;
        if (arePlaced || (wasHurried && !isHurried())) onHurried();
        onPass();
      }
    },
  };
}

function changedBetween(before: HostState, after: HostState): ReadonlySet<ListenerKey> {
  const isSame = (key: ListenerKey): boolean => before.open.get(key) === after.open.get(key);
  return new Set([
    ...PersistentMap.changedKeys(before.settled, after.settled),
    ...[...before.open.keys(), ...after.open.keys()].filter((key) => !isSame(key)),
  ]);
}
