import { keepWatching } from '../../async/keep-watching.ts';
import { makeSerial } from '../../async/serial.ts';
import { makeTrouble } from '../../async/trouble.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import type { Clock } from '../../ports/clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import type { Steering } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { makeKernelTable } from './kernel-table.ts';
import {
  allElements,
  type ChangePart,
  type Difference,
  differenceTo,
  emptyMirror,
  joined,
  makeOwnAddressIndex,
  type Mirror,
  withParts,
} from './mirror.ts';
import { makePacedRepairs } from './paced-repairs.ts';
import { makeRouting } from './routing.ts';
import { type KernelEvent, watchKernel } from './watch.ts';

/** In a set of 10,000 ranges, removing one takes 10 ms (the kernel checks all), replacing the whole table 0.4 s. */
const maxRangesRemoved = 20;

/**
 * nftables in front of HAProxy: table `inet furiwake`, and routing rules for the mark. Its programs end with
 * `lifetime`; the table stays, so that traffic continues. The first `apply` replaces the table of an earlier process in
 * one transaction: each packet sees either the old or the new one.
 *
 *   target ─► difference to the mirror ─► one transaction ─► mirror
 *                                           └─ refused: split in halves until the refused listeners are isolated
 */
export function makeSteering(deps: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly lifetime: AbortSignal;
}): Steering {
  const { exec, clock, log, metrics } = deps;
  const table = makeKernelTable(deps);
  const routing = makeRouting(deps);
  const hasOwnAddresses = makeOwnAddressIndex();
  const repairs = metrics.counter(
    'furiwake_nftables_repairs_total',
    'Times that the table or a routing rule was restored',
  );
  const routingTrouble = makeTrouble({
    what: 'adding the routing rule for marked packets',
    log,
    monotonic: () => clock.monotonic(),
  });

  /** The contents of the kernel, if the table is known. */
  let mirror: Mirror = emptyMirror;
  const inTurn = makeSerial();

  const replace = async (next: Mirror, signal: AbortSignal): Promise<string | undefined> => {
    const words = await table.replace(allElements(next), hasOwnAddresses(next.target), signal);
    if (words === undefined) mirror = next;
    return words;
  };

  /**
   * Executes `parts` in one transaction, after which the kernel contains `next`; returns nft's message if it refuses.
   */
  const attempt = async (
    parts: readonly ChangePart[],
    next: Mirror,
    signal: AbortSignal,
  ): Promise<string | undefined> => {
    const change = joined(parts);
    const ranges = change.remove.filter(({ set }) => set.startsWith('allowed'));
    if (!table.isKnown(hasOwnAddresses(next.target)) || ranges.length > maxRangesRemoved)
      return await replace(next, signal);
    const isNothing = change.add.length + change.remove.length === 0;
    const words = isNothing ? undefined : await table.change(change, signal);
    if (words === undefined) mirror = next;
    return words;
  };

  /**
   * Executes all parts that nft accepts. A refused transaction is split in halves until the refused listeners are
   * isolated: k of n cost about 2 k · log2(n) transactions. Throws if nft accepts no change at all.
   */
  const put = async (
    { parts, start, goal }: Difference,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<ListenerKey, string>> => {
    const isKnown = (): boolean => table.isKnown(hasOwnAddresses(goal.target));
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
        const refusal = await attempt(half, withParts(mirror, goal.target, half), signal);
        if (refusal === undefined) continue;
        if (!isKnown()) throw refused(refusal); // another program changed the table meanwhile
        await halve(half, refusal);
      }
    };
    await halve(parts, words);
    return refusals;
  };

  const ensureRouting = async (signal: AbortSignal): Promise<number> => {
    try {
      const families = await routing.ensure(signal);
      if (families.length > 0) log.info({ families }, 'routing rule for marked packets added');
      routingTrouble.over();
      return families.length;
    } catch (error) {
      signal.throwIfAborted();
      routingTrouble.failed(error); // only packets to an address that this host does not have need it
      return 0;
    }
  };

  const repairRouting = async (signal: AbortSignal): Promise<number> => {
    const repaired = table.isInPlace() ? await ensureRouting(signal) : 0;
    if (repaired > 0) repairs.add(repaired);
    return repaired;
  };

  /** The repair; `undefined`: none was needed. */
  const repairTable = async (signal: AbortSignal): Promise<string | undefined> => {
    if (!table.isInPlace()) return undefined;
    const found = await table.difference(allElements(mirror), signal);
    if (found === undefined) return undefined;
    const words = await replace(mirror, signal);
    if (words !== undefined) throw refused(words);
    repairs.add(1);
    return found;
  };

  return {
    apply: (target, signal) =>
      inTurn(async () => {
        const difference = differenceTo(target, mirror);
        if (!table.isInPlace()) await ensureRouting(signal);
        return new Map([...difference.refused, ...(await put(difference, signal))]);
      }),
    audit: (signal) =>
      inTurn(async () => (await repairRouting(signal)) + ((await repairTable(signal)) === undefined ? 0 : 1)),
    run: async (signal) => {
      const afterRepair = makePacedRepairs({ clock, log });
      let seen = table.generation();
      const react = async (event: KernelEvent): Promise<void> => {
        if (event.kind === 'table' && event.generation > seen && event.generation <= table.generation()) {
          seen = event.generation; // furiwake's own transaction
          return;
        }
        const rules = event.kind === 'table' ? 0 : await inTurn(() => repairRouting(signal));
        const found = event.kind === 'rules' ? undefined : await inTurn(() => repairTable(signal));
        const change = found ?? (rules > 0 ? 'the routing rule is gone' : undefined);
        if (change !== undefined) await afterRepair(change, signal);
      };
      await keepWatching({
        what: 'watching nftables and routing rules',
        watch: () => watchKernel(exec, signal),
        react,
        clock,
        log,
        signal,
      });
    },
    remove: (signal) =>
      inTurn(async () => {
        mirror = emptyMirror;
        await table.remove(signal);
        await routing.remove(signal);
      }),
  };
}

function refused(words: string): ExecError {
  return new ExecError('nft', 1, words.replace(/^nft: /, ''));
}
