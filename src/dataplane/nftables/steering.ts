import { keepWatching } from '../../async/keep-watching.ts';
import { makeSerial } from '../../async/serial.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import type { Clock } from '../../ports/clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import type { Steering, SteeringTarget } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { type Element, elementKey } from './elements.ts';
import { decodeListing, type Listing } from './listing.ts';
import { allElements, type Change, type ChangePart, diffTargets, emptyTarget, joined } from './mirror.ts';
import { makeRouting } from './routing.ts';
import { renderChange, renderRuleset, tableName } from './ruleset.ts';
import { makeNftSession } from './session.ts';
import { type KernelEvent, watchKernel } from './watch.ts';

/** From here on a line for `nft -i`, which reads a byte at a time, costs more than a process. */
const maxSessionElements = 200;
/** An element leaves an interval set of 10,000 in 10 ms (the kernel looks at all), the whole table anew takes 0.4 s. */
const maxRangesRemoved = 20;
const transactionMs = 30_000;

/** A table that the kernel has acknowledged. */
type Held = {
  readonly generation: number;
  /** Chains, rules and sets as nft listed them just after we made them. */
  readonly skeleton: string;
};

/**
 * nftables in front of HAProxy: table `inet furiwake`, and routing rules for the mark. The programs that it keeps open
 * end with `lifetime`; the table stays, so that traffic continues. The first `apply` replaces whatever table an earlier
 * process left, in one transaction: packets find the old one or the new one.
 */
export function makeSteering({
  exec,
  clock,
  log,
  metrics,
  lifetime,
}: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly lifetime: AbortSignal;
}): Steering {
  const session = makeNftSession({ exec, clock, lifetime });
  const routing = makeRouting({ exec });
  const transactions = metrics.counter('furiwake_nftables_transactions_total', 'Transactions sent to nft', ['kind']);
  const repairs = metrics.counter('furiwake_nftables_repairs_total', 'Times that the table or a rule was put back');

  /** What the kernel holds. */
  let mirror: SteeringTarget = emptyTarget;
  /** `undefined` until the first apply and after a removal: then nothing is repaired. */
  let held: Held | undefined;
  /** False while a transaction runs and after one that failed: then the next one replaces the table. */
  let isCertain = false;
  let generation = clock.now() % 2 ** 31; // not one that an earlier process used
  /** One at a time: `held` must not change under a running transaction. */
  const inTurn = makeSerial();

  const runNft = async (text: string, signal: AbortSignal): Promise<void> => {
    await exec.run('nft', ['--file', '-'], { stdin: text, signal, timeoutMs: transactionMs });
  };

  const list = async (flags: readonly string[], signal: AbortSignal): Promise<Listing | undefined> => {
    try {
      const args = ['--json', '--stateless', ...flags, 'list', 'table', ...tableName.split(' ')];
      return decodeListing((await exec.run('nft', args, { signal, timeoutMs: transactionMs })).stdout);
    } catch (error) {
      if (error instanceof ExecError && error.exitCode === 1) return undefined; // no such table
      throw error;
    }
  };

  const replace = async (elements: readonly Element[], signal: AbortSignal): Promise<void> => {
    isCertain = false;
    generation++;
    await runNft(renderRuleset(elements, generation), signal);
    transactions.add(1, { kind: 'replace' });
    const skeleton = (await list(['--terse'], signal))?.skeleton ?? '';
    held = { generation, skeleton };
    isCertain = true;
  };

  const commit = async (before: Held, change: Change, signal: AbortSignal): Promise<void> => {
    isCertain = false;
    generation++;
    const text = renderChange(change, before.generation, generation);
    if (change.add.length + change.remove.length <= maxSessionElements) await session.commit(text, generation, signal);
    else await runNft(`${text}\n`, signal);
    transactions.add(1, { kind: 'change' });
    held = { ...before, generation };
    isCertain = true;
  };

  /** The kernel holds `of` for certain: what differs can be sent as a change. */
  const tryCommit = async (parts: readonly ChangePart[], signal: AbortSignal): Promise<string | undefined> => {
    if (held === undefined || !isCertain) return 'the state of the table is not known';
    try {
      await commit(held, joined(parts), signal);
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      return wordsOf(error);
    }
  };

  /**
   * Makes the kernel hold `next`, as far as nft takes it; `refusals` gets the listeners that it does not. A refused change
   * is halved until the listeners that nft refuses stand alone: k of n cost some k · log2(n) transactions.
   */
  const put = async (
    parts: readonly ChangePart[],
    next: SteeringTarget,
    refusals: Map<ListenerKey, string>,
    signal: AbortSignal,
  ): Promise<void> => {
    const { add, remove } = joined(parts);
    const ranges = remove.filter(({ set }) => set.startsWith('allowed'));
    const isChangeable = held !== undefined && isCertain && ranges.length <= maxRangesRemoved;
    if (isChangeable && add.length + remove.length === 0) return;
    if (isChangeable && (await tryCommit(parts, signal)) === undefined) return take(parts, next);
    try {
      await replace(allElements(next), signal);
      mirror = next;
    } catch (error) {
      signal.throwIfAborted();
      if (parts.length === 0) throw error;
      await isolate(parts, next, refusals, error, signal);
    }
  };

  /** The kernel has these parts of `next`. */
  const take = (parts: readonly ChangePart[], next: SteeringTarget): void => {
    const changes = parts.flatMap(({ listener }) =>
      listener === undefined ? [] : [[listener, next.listeners.get(listener)] as const],
    );
    const hasVips = parts.some(({ listener }) => listener === undefined);
    mirror = {
      ...next,
      listeners: mirror.listeners.with(changes),
      vips: hasVips ? next.vips : mirror.vips,
    };
  };

  const isolate = async (
    parts: readonly ChangePart[],
    next: SteeringTarget,
    refusals: Map<ListenerKey, string>,
    cause: unknown,
    signal: AbortSignal,
  ): Promise<void> => {
    await replace(allElements(mirror), signal); // what was in force, for certain; if nft refuses even that, it takes nothing
    const halve = async (group: readonly ChangePart[], words: string): Promise<void> => {
      const [only] = group;
      if (group.length === 1 && only !== undefined) {
        if (only.listener === undefined) throw cause;
        refusals.set(only.listener, words);
        return;
      }
      const middle = Math.ceil(group.length / 2);
      for (const half of [group.slice(0, middle), group.slice(middle)]) {
        if (!isCertain) await replace(allElements(mirror), signal);
        const refusal = await tryCommit(half, signal);
        if (refusal === undefined) take(half, next);
        else await halve(half, refusal);
      }
      if (!isCertain) await replace(allElements(mirror), signal);
    };
    await halve(parts, wordsOf(cause));
  };

  const ensureRouting = async (signal: AbortSignal): Promise<number> => {
    try {
      const families = await routing.ensure(signal);
      if (families.length > 0) log.info({ families }, 'routing rule for marked packets put in place');
      return families.length;
    } catch (error) {
      signal.throwIfAborted();
      // Only packets to an address that this host does not have need it, so the rest goes on.
      log.warn({ err: error }, 'no routing rule for marked packets');
      return 0;
    }
  };

  const repairRouting = async (signal: AbortSignal): Promise<number> => {
    const repaired = held === undefined ? 0 : await ensureRouting(signal);
    if (repaired > 0) repairs.add(repaired);
    return repaired;
  };

  const repairTable = async (signal: AbortSignal): Promise<number> => {
    if (held === undefined) return 0;
    const found = await list([], signal);
    if (found === undefined) log.warn({}, 'nftables table is gone; written anew');
    else if (!isCertain || found.skeleton !== held.skeleton)
      log.warn({}, 'nftables table has other rules than ours; written anew');
    else {
      const differences = countDifferences(allElements(mirror).map(elementKey), found.elements);
      if (differences === 0) return 0;
      log.warn({ differences }, 'nftables table has other elements than ours; written anew');
    }
    await replace(allElements(mirror), signal);
    repairs.add(1);
    return 1;
  };

  return {
    apply: (target, signal) =>
      inTurn(async () => {
        const refusals = new Map<ListenerKey, string>();
        const parts = diffTargets(mirror, target, (listener, words) => void refusals.set(listener, words));
        const next =
          refusals.size === 0
            ? target
            : {
                ...target,
                listeners: target.listeners.with(
                  Array.from(refusals.keys(), (key) => [key, mirror.listeners.get(key)]),
                ),
              };
        if (held === undefined) await ensureRouting(signal);
        await put(parts, next, refusals, signal);
        if (refusals.size === 0) mirror = next;
        return refusals;
      }),
    audit: (signal) => inTurn(async () => (await repairRouting(signal)) + (await repairTable(signal))),
    run: async (signal) => {
      let seen = generation;
      const react = async (event: KernelEvent): Promise<void> => {
        if (event.kind === 'table' && event.generation > seen && event.generation <= generation) {
          seen = event.generation; // a transaction of ours
          return;
        }
        if (event.kind !== 'table') await inTurn(() => repairRouting(signal));
        if (event.kind !== 'rules') await inTurn(() => repairTable(signal));
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
        held = undefined;
        mirror = emptyTarget;
        await runNft(`table ${tableName}\ndelete table ${tableName}\n`, signal);
        await routing.remove(signal);
      }),
  };
}

/** nft's words on one line, without the place in its input, which differs from attempt to attempt. */
function wordsOf(error: unknown): string {
  const text = error instanceof ExecError ? error.stderr : error instanceof Error ? error.message : String(error);
  const [line = ''] = text.trim().split('\n');
  return `nft: ${line.replace(/^[^:\s]*(?::\d+)+(?:-\d+)*:\s*/, '')}`;
}

function countDifferences(ours: readonly string[], found: ReadonlySet<string>): number {
  const present = ours.filter((key) => found.has(key)).length;
  return ours.length - present + (found.size - present);
}
