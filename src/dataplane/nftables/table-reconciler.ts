import { makeLatch, waitAtMost } from '../../async/latch.ts';
import { makeSubscribers } from '../../async/subscribers.ts';
import { messageOf } from '../../async/error-words.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import type { TrafficTable } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import type { Refusals } from '../../ports/host.ts';
import type { Counter, Metrics } from '../../ports/metrics.ts';
import type { TableOutage } from '../../ports/host-table.ts';
import { makeKernelTable } from './kernel-table.ts';
import {
  allElements,
  changeOf,
  type ChangePart,
  type Difference,
  differenceTo,
  emptyMirror,
  type Layout,
  type Mirror,
  withParts,
} from './mirror.ts';
import type { TableSpec } from './table-text.ts';

/**
 * Makes a table in the kernel contain what a target says. One call at a time. The first `apply` replaces the table of an
 * earlier process in one transaction: each packet sees either the old or the new one. What the kernel has learnt stays.
 *
 *   target ─► difference to the mirror ─► one transaction ─► mirror
 *                                           └─ refused: split in halves until the refused listeners are isolated
 */
export type TableReconciler<T> = {
  /** Resolves with the listeners that nft refuses. Throws `ExecError` if it accepts no change at all. */
  apply(target: T, signal: AbortSignal): Promise<Refusals<ListenerKey>>;
  /**
   * Reads the table back and restores it. Resolves with the difference that it had because of another program; `undefined`: none.
   * A difference that furiwake's own last transaction may have made is restored as well.
   */
  repair(signal: AbortSignal): Promise<string | undefined>;
  /**
   * The same, but reads no elements while every transaction since the last `repair` was seen and furiwake's own, which one more
   * transaction proves: what happened before it was seen before it.
   */
  audit(signal: AbortSignal): Promise<string | undefined>;
  /** The same, but where an audit reads elements, it reads chains, rules and sets, and is a `repair` only if they differ. */
  check(signal: AbortSignal): Promise<string | undefined>;
  /**
   * Replaces the table if the last target, changed, has other rules. Listeners that nft has refused stay as they are. Resolves with
   * whether it has.
   */
  renew(change: (target: T) => T, signal: AbortSignal): Promise<boolean>;
  /**
   * The watch has seen a transaction with this generation. `isGone`: there is no table after it, and the next `repair` writes it without
   * reading, because living connections are reset meanwhile. Returns whether it was furiwake's own, and not seen before.
   */
  saw(generation: number, isGone?: boolean): boolean;
  /** Any change is possible until the next `repair`: the watch has begun, has missed some, or (not `isWatched`) has ended. */
  doubt(isWatched: boolean): void;
  /** Removes the table. No error when there is none. */
  remove(signal: AbortSignal): Promise<void>;
  /** Whether the kernel has the table, perhaps of an earlier process. */
  exists(signal: AbortSignal): Promise<boolean>;
  /** The elements of these sets, or of all, as in `KernelTable`. */
  elements(signal: AbortSignal, sets?: readonly string[]): Promise<ReadonlySet<string> | undefined>;
  /** Whether a table was created and not removed since. */
  isInPlace(): boolean;
  readonly outage: TableOutage;
};

/** From the end of a transaction until the watch has it: longer than on a busy machine. */
const seenMs = 1_000;

export function makeTableReconciler<T extends { readonly listeners: TrafficTable['listeners'] }>(deps: {
  readonly table: TableSpec;
  readonly layout: Layout<T>;
  /** The rules for a target. Another text replaces the whole table. */
  readonly rulesOf: (target: T) => string;
  /** What the kernel does with packets while a table that another program has deleted is written again, in chains of their own. */
  readonly guardOf?: (target: T) => string | undefined;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Counts the times that the table was restored. */
  readonly repairs: Counter;
  readonly lifetime: AbortSignal;
}): TableReconciler<T> {
  const { layout, rulesOf, clock } = deps;
  const table = makeKernelTable(deps);
  /** The contents of the kernel, if the table is known. */
  let mirror = emptyMirror(layout);
  /** The last transaction of furiwake that the watch has seen. */
  let seen = 0;
  /** The last one that a reading of the table has shown. */
  let read = 0;
  let isWatched = false;
  /** All transactions since the table was last read were seen, and furiwake's own. */
  let isFollowed = false;
  const news = makeLatch();
  /** Another program has changed the table since it was last as wanted. */
  let isForeign = false;
  /** Repairs in a row that failed after that. */
  let failures = 0;
  let outage: string | undefined;
  const outageNews = makeSubscribers();
  const noteRepair = (failure: unknown): void => {
    if (failure === undefined) isForeign = false;
    failures = failure === undefined || !isForeign ? 0 : failures + 1;
    const words = failures > 1 ? (outage ?? messageOf(failure)) : undefined;
    if (words === outage) return;
    outage = words;
    outageNews.tell();
  };

  const replace = async (next: Mirror<T>, signal: AbortSignal): Promise<string | undefined> => {
    const guard = (): string | undefined => deps.guardOf?.(next.target);
    const content = { elements: () => allElements(layout, next), rules: rulesOf(next.target), guard };
    const words = await table.replace(content, signal);
    if (words !== undefined) return words;
    mirror = next;
    noteRepair(undefined);
    return undefined;
  };

  /**
   * Executes `parts` in one transaction, after which the kernel contains `next`; returns nft's message if it refuses.
   */
  const attempt = async (
    parts: readonly ChangePart[],
    next: Mirror<T>,
    signal: AbortSignal,
  ): Promise<string | undefined> => {
    const change = changeOf(mirror.lists, parts);
    const ranges = change.remove.filter(({ set }) => set.startsWith('sources'));
    if (!table.isKnown(rulesOf(next.target)) || ranges.length > deps.table.mostRangesRemoved)
      return await replace(next, signal);
    const isNothing = change.add.length + change.remove.length === 0;
    const words = isNothing ? undefined : await table.change(change, signal);
    if (words === undefined) mirror = next;
    return words;
  };

  /** Executes all parts that nft accepts: k refused ones of n cost about 2 k · log2(n) transactions. */
  const put = async ({ parts, start, goal }: Difference<T>, signal: AbortSignal): Promise<Refusals<ListenerKey>> => {
    const isKnown = (): boolean => table.isKnown(rulesOf(goal.target));
    const refusals = new Map<ListenerKey, string>();
    let words = await attempt(parts, goal, signal);
    if (words !== undefined && !isKnown()) words = await attempt(parts, goal, signal); // as a whole
    if (words === undefined) return refusals;
    // An empty transaction distinguishes a refused listener from an nft that accepts no change at all.
    const isTaken = isKnown() ? table.change({ remove: [], add: [] }, signal) : replace(start, signal);
    if ((await isTaken) !== undefined) throw refused(words);
    mirror = start;

    const halve = async (group: readonly ChangePart[], why: string): Promise<void> => {
      const [only] = group;
      if (group.length === 1 && only !== undefined) {
        if (only.listener === undefined) throw refused(why);
        refusals.set(only.listener, why);
        return;
      }
      const middle = Math.ceil(group.length / 2);
      for (const half of [group.slice(0, middle), group.slice(middle)]) {
        const refusal = await attempt(half, withParts(layout, mirror, goal.target, half), signal);
        if (refusal === undefined) continue;
        if (!isKnown()) throw refused(refusal); // another program changed the table meanwhile
        await halve(half, refusal);
      }
    };
    await halve(parts, words);
    return refusals;
  };

  const repair = async (signal: AbortSignal): Promise<string | undefined> => {
    if (!table.isInPlace()) return undefined;
    isFollowed = isWatched;
    try {
      const difference = await table.difference(() => allElements(layout, mirror), signal);
      const words = difference === undefined ? undefined : await replace(mirror, signal);
      if (words !== undefined) throw refused(words);
      noteRepair(undefined);
      if (difference === undefined) read = table.generation();
      if (difference === undefined || difference.by === 'own') return undefined;
      deps.repairs.add(1);
      return difference.words;
    } catch (error) {
      isFollowed = false;
      if (!signal.aborted) noteRepair(error);
      throw error;
    }
  };

  /** Whether the kernel has what the mirror says, by what the watch has seen. */
  const isProven = async (signal: AbortSignal): Promise<boolean> => {
    if (!isFollowed || (await table.change({ remove: [], add: [] }, signal)) !== undefined) return false;
    const untilMs = clock.monotonic() + seenMs;
    const isAwaited = (): boolean => isFollowed && seen < table.generation() && clock.monotonic() < untilMs;
    while (isAwaited()) await waitAtMost(untilMs - clock.monotonic(), news, clock, signal);
    return isFollowed && seen === table.generation();
  };

  const isSame = async (signal: AbortSignal): Promise<boolean> =>
    (await isProven(signal)) && (deps.table.deviceChain === undefined || (await table.hasSameRules(signal)));

  return {
    apply: async (target, signal) => {
      const difference = differenceTo(layout, target, mirror);
      return new Map([...difference.refused, ...(await put(difference, signal))]);
    },
    repair,
    audit: async (signal) => ((await isSame(signal)) ? undefined : await repair(signal)),
    check: async (signal) =>
      (await isSame(signal)) || !table.isInPlace() || (await table.hasSameRules(signal))
        ? undefined
        : await repair(signal),
    renew: async (change, signal) => {
      const target = change(mirror.target);
      if (!table.isInPlace() || table.hasRules(rulesOf(target))) return false;
      const words = await replace({ ...mirror, target }, signal);
      if (words !== undefined) throw refused(words);
      return true;
    },
    saw: (generation, isGone = false) => {
      const isOwn = generation > seen && generation <= table.generation();
      if (isOwn) seen = generation;
      else {
        isFollowed = false;
        isForeign = true;
        // Otherwise furiwake has written since, and the table may be there.
        if (isGone && Math.max(seen, read) === table.generation()) table.noteGone();
      }
      news.set();
      return isOwn;
    },
    doubt: (isStillWatched) => {
      isWatched = isStillWatched;
      isFollowed = false;
      news.set();
    },
    remove: async (signal) => {
      mirror = emptyMirror(layout);
      await table.remove(signal);
      noteRepair(undefined);
    },
    exists: (signal) => table.exists(signal),
    elements: (signal, sets) => table.elements(signal, sets),
    isInPlace: () => table.isInPlace(),
    outage: { words: () => outage, subscribe: outageNews.subscribe },
  };
}

function refused(words: string): ExecError {
  return new ExecError('nft', 1, words.replace(/^nft: /, ''));
}
