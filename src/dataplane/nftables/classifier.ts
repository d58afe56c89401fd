import { makeSerial } from '../../async/serial.ts';
import type { Ip } from '../../core/ip/ip.ts';
import type { Clock } from '../../ports/clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import type { Classifier } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { type Element, elementKey } from './elements.ts';
import { guard } from './guard.ts';
import { decodeListing, type Listing } from './listing.ts';
import { allElements, type Change, diffMirrors, emptyMirror } from './mirror.ts';
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
 * end with `lifetime`; the table stays, so that traffic flows on. `apply` throws `ExecError` when nft refuses, then what
 * was in force stays so; `RowError` for a row that is not TCP. The first `apply` replaces whatever table an earlier
 * process left, in one transaction: packets find the old one or the new one.
 */
export function makeClassifier({
  exec,
  clock,
  log,
  metrics,
  lifetime,
  ownAddresses = () => emptyMirror.own,
}: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly lifetime: AbortSignal;
  /** What is known of the host's own addresses; the same object as long as they are the same. Default: none. */
  readonly ownAddresses?: () => ReadonlyMap<string, Ip>;
}): Classifier {
  const session = makeNftSession({ exec, clock, lifetime });
  const routing = makeRouting({ exec });
  const transactions = metrics.counter('furiwake_nftables_transactions_total', 'Transactions sent to nft', ['kind']);
  const repairs = metrics.counter('furiwake_nftables_repairs_total', 'Times that the table or a rule was put back');

  let mirror = emptyMirror;
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

  /** Makes the kernel hold `all` elements, by `change` if that is possible. */
  const put = async (change: Change, all: () => readonly Element[], signal: AbortSignal): Promise<void> => {
    const ranges = change.remove.filter(({ set }) => set.startsWith('allowed'));
    if (held === undefined || !isCertain || ranges.length > maxRangesRemoved) return await replace(all(), signal);
    if (change.add.length + change.remove.length === 0) return;
    try {
      await commit(held, change, signal);
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ err: error }, 'nft refused a change; the whole table is written anew');
      await replace(all(), signal);
    }
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
    apply: (table, added, portOf, signal) =>
      inTurn(async () => {
        const next = { rows: table.rows, vips: added, own: ownAddresses(), portOf };
        const change = diffMirrors(mirror, next);
        if (held === undefined) await ensureRouting(signal);
        await put(change, () => allElements(next), signal);
        mirror = next;
      }),
    audit: (signal) => inTurn(async () => (await repairRouting(signal)) + (await repairTable(signal))),
    run: async (signal) => {
      let seen = generation;
      const react = async (event?: KernelEvent): Promise<void> => {
        if (event?.kind === 'table' && event.generation > seen && event.generation <= generation) {
          seen = event.generation; // a transaction of ours
          return;
        }
        if (event?.kind !== 'table') await inTurn(() => repairRouting(signal));
        if (event?.kind !== 'rules') await inTurn(() => repairTable(signal));
      };
      await guard({ watch: () => watchKernel(exec, signal), react, clock, log, signal });
    },
    remove: (signal) =>
      inTurn(async () => {
        held = undefined;
        mirror = emptyMirror;
        await runNft(`table ${tableName}\ndelete table ${tableName}\n`, signal);
        await routing.remove(signal);
      }),
  };
}

function countDifferences(ours: readonly string[], found: ReadonlySet<string>): number {
  const present = ours.filter((key) => found.has(key)).length;
  return ours.length - present + (found.size - present);
}
