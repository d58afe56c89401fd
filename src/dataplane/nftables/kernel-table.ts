import { messageOf } from '../../async/error-words.ts';
import { longestCallMs } from '../../ports/call-times.ts';
import type { Clock } from '../../ports/clock.ts';
import { type Exec, ExecError, refusalOf } from '../../ports/exec.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { type Element, elementKey } from './element.ts';
import { listSets } from './list-sets.ts';
import { decodeListing, type Listing } from './listing.ts';
import type { ElementChange } from './mirror.ts';
import { holdsGeneration, makeNftSession } from './session.ts';
import { partsOf, renderChange, renderRefill, renderTable, type TableSpec } from './table-text.ts';

/**
 * A table in the kernel, and what furiwake knows for certain about it.
 *
 *   unknown ── replace ──► known ── change, replace ──► known      in force, or refused: then the table is as before
 *      ▲                     └── no answer, or another program changed the table ──► unknown
 *      └── the start, remove
 *
 * One call at a time.
 */
export type KernelTable = {
  /** True if the table is in the state after the last accepted transaction, with these rules; a change can then be sent. */
  isKnown(rules: string): boolean;
  /** Whether the table was last written with these rules. */
  hasRules(rules: string): boolean;
  /** Whether a table was created and not removed since. */
  isInPlace(): boolean;
  /** Whether the kernel has the table, perhaps of an earlier process. False on a kernel without tables of the family. */
  exists(signal: AbortSignal): Promise<boolean>;
  /**
   * The elements of these sets, or of all, in the kernel, perhaps of an earlier process, as `elementKey` writes them; `undefined`: there
   * is no table.
   */
  elements(signal: AbortSignal, sets?: readonly string[]): Promise<ReadonlySet<string> | undefined>;
  /** The number of the state after the last transaction. Each transaction has a greater one. */
  generation(): number;
  /**
   * Replaces the whole table in one transaction. What the kernel has learnt stays, unless another program, or another release, has
   * declared something else in the table. If another program has deleted it, the chains of `guard` are written first. Resolves with
   * nft's message if it is not in force. Throws `ExecError` if nft cannot run.
   */
  replace(content: TableContent, signal: AbortSignal): Promise<string | undefined>;
  /** Changes a known table in one transaction. Resolves with nft's message if the change is not in force. */
  change(change: ElementChange, signal: AbortSignal): Promise<string | undefined>;
  /** Another program has deleted the table. Until the next transaction nothing is read to find that out. */
  noteGone(): void;
  /** The difference of the kernel to these elements and to the rules after their creation; `undefined`: none. */
  difference(elements: () => readonly Element[], signal: AbortSignal): Promise<TableDifference | undefined>;
  /** Whether chains, rules and sets are those of the last replacement: the kernel removes the chain of a device with it. */
  hasSameRules(signal: AbortSignal): Promise<boolean>;
  /** Removes the table. No error when there is none. */
  remove(signal: AbortSignal): Promise<void>;
};

export type TableContent = {
  readonly elements: () => readonly Element[];
  readonly rules: string;
  /** Chains, and sets of theirs, for the packets that come before the table is back; `undefined`: none. */
  readonly guard?: (() => string | undefined) | undefined;
};

/** `own`: perhaps; the outcome of furiwake's last transaction is not known, because it had no answer, or a late one. */
export type TableDifference = { readonly by: 'own' } | { readonly by: 'other'; readonly words: string };

/** From this length on a line for `nft -i`, which reads a byte at a time, costs more than a process. */
const maxSessionElements = 200;

/** What nft says without such a table, or on a kernel without tables of the family. After another failure the table may be there. */
const absence = /No such file or directory|not supported|Invalid argument/;

/** A table that the kernel has acknowledged. */
type AcknowledgedTable = {
  readonly generation: number;
  readonly rules: string;
  /** Chains, rules and sets as nft listed them right after their creation. */
  readonly skeleton: string;
};

export function makeKernelTable(deps: {
  readonly table: TableSpec;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly lifetime: AbortSignal;
}): KernelTable {
  const { table, exec, clock, metrics } = deps;
  const session = makeNftSession(deps);
  const transactions = metrics.counter('furiwake_nftables_transactions_total', 'Transactions sent to nft', ['kind']);

  let held: AcknowledgedTable | undefined;
  /** False while a transaction runs, and when its outcome is unknown. */
  let isCertain = false;
  /** Another program has deleted the table since the last transaction. */
  let isGone = false;
  let generation = Math.floor(clock.now()) % 2 ** 31; // not one that an earlier process used

  const runNft = async (text: string, signal: AbortSignal): Promise<void> => {
    await exec.run('nft', ['--file', '-'], { stdin: text, signal, timeoutMs: longestCallMs });
  };

  /** `undefined`: there is none. Throws `ExecError` if nft cannot say. */
  const list = async (args: readonly string[], signal: AbortSignal): Promise<string | undefined> => {
    try {
      const { stdout } = await exec.run('nft', ['--json', ...args], { signal, timeoutMs: longestCallMs });
      return stdout;
    } catch (error) {
      if (error instanceof ExecError && error.exitCode === 1 && absence.test(error.stderr)) return undefined;
      throw error;
    }
  };

  /** Chains, rules and sets; `undefined`: there is no table. Of the whole family, for `list table` reads all elements to print none. */
  const listRules = async (signal: AbortSignal): Promise<string | undefined> => {
    const [family = ''] = table.name.split(' ');
    const json = await list(['--stateless', '--terse', 'list', 'ruleset', family], signal);
    const skeleton = json === undefined ? '[]' : decodeListing(json, table).skeleton;
    return skeleton === '[]' ? undefined : skeleton;
  };

  const listTable = async (
    signal: AbortSignal,
    names: readonly string[] = Object.keys(table.sets),
  ): Promise<Listing | undefined> => {
    const skeleton = await listRules(signal);
    if (skeleton === undefined) return undefined;
    if (table.learns !== undefined) {
      const sets = await listSets(exec, table, names, signal, ['--stateless']);
      return { skeleton, elements: new Set(sets.flatMap((json) => [...decodeListing(json, table).elements])) };
    }
    const json = await list(['--stateless', 'list', 'table', ...table.name.split(' ')], signal);
    return json === undefined ? undefined : { skeleton, elements: decodeListing(json, table).elements };
  };

  /** Sends a transaction. If it fails: nft's message, and `isCertain` says whether the table is certainly unchanged. */
  const attempt = async (transact: () => Promise<void>, signal: AbortSignal): Promise<string | undefined> => {
    isCertain = false;
    try {
      await transact();
    } catch (error) {
      signal.throwIfAborted();
      if (held !== undefined) {
        const json = await list(['list', 'set', ...table.name.split(' '), 'generation'], signal).catch(refusalOf);
        isCertain = typeof json === 'string' && holdsGeneration(json, held.generation);
      }
      return wordsOf(error);
    }
    isCertain = true;
    return undefined;
  };

  /**
   * Only where there is no table (`create`), by the process that is open: packets arrive meanwhile. If nft refuses it, the table that is
   * written next is enough.
   */
  const guard = async (chains: string | undefined, signal: AbortSignal): Promise<void> => {
    if (chains === undefined) return;
    const line = `create table ${table.name}; table ${table.name} {${chains.replaceAll(/\s*\n\s*/g, ' ; ')}}`;
    await session.send(line, signal).catch(() => signal.throwIfAborted());
  };

  /** Writes the whole table. Resolves as `attempt`. */
  const write = async (text: string, rules: string, signal: AbortSignal): Promise<string | undefined> => {
    const words = await attempt(() => runNft(text, signal), signal);
    if (words !== undefined) return words;
    isCertain = false; // until it is read
    const skeleton = (await listRules(signal)) ?? '';
    transactions.add(1, { kind: 'replace' });
    held = { generation, rules, skeleton };
    isCertain = true;
    return undefined;
  };

  return {
    isKnown: (rules) => isCertain && held?.rules === rules,
    hasRules: (rules) => held?.rules === rules,
    isInPlace: () => held !== undefined,
    exists: async (signal) => (await listRules(signal)) !== undefined,
    elements: async (signal, sets) => (await listTable(signal, sets))?.elements,
    generation: () => generation,
    replace: async (content, signal) => {
      generation++;
      const isThere = table.learns !== undefined && !isGone && (await listRules(signal)) !== undefined;
      if (!isThere && held !== undefined) await guard(content.guard?.(), signal);
      isGone = false;
      const [elements, { rules }] = [content.elements(), content];
      const text = renderTable(table, elements, generation, rules);
      if (isThere) {
        const words = await write(renderRefill(table, elements, generation, rules), rules, signal);
        if (words === undefined && hasOnly(partsOf(text), held?.skeleton ?? '[]')) return undefined;
      }
      return await write(text, rules, signal);
    },
    change: async (change, signal) => {
      if (held === undefined) return 'there is no table yet';
      generation++;
      isGone = false;
      const text = renderChange(table, change, held.generation, generation);
      const byProcess = (): Promise<void> => runNft(`${text}\n`, signal);
      const isShort = change.add.length + change.remove.length <= maxSessionElements;
      let words = await attempt(isShort ? () => session.commit(text, generation, signal) : byProcess, signal);
      // The running process may have ended, and its message for a refusal may come too late, so a second process is
      // asked.
      if (words !== undefined && isShort && isCertain) words = await attempt(byProcess, signal);
      if (words !== undefined) return words;
      transactions.add(1, { kind: 'change' });
      held = { ...held, generation };
      return undefined;
    },
    noteGone: () => {
      isGone = true;
    },
    difference: async (elements, signal) => {
      const found = isGone ? undefined : await listTable(signal);
      if (found === undefined)
        return {
          by: 'other',
          words: `the table is gone${table.learns === undefined ? '' : `, and with it ${table.learns}`}`,
        };
      if (!isCertain) return { by: 'own' };
      if (found.skeleton !== held?.skeleton) return { by: 'other', words: 'other rules' };
      const lasting = elements().filter(({ set }) => set in table.sets);
      const present = lasting.filter((element) => found.elements.has(elementKey(element))).length;
      const [missing, foreign] = [lasting.length - present, found.elements.size - present];
      const words = `elements missing: ${missing}, foreign: ${foreign}`;
      return missing + foreign === 0 ? undefined : { by: 'other', words };
    },
    hasSameRules: async (signal) => isCertain && (await listRules(signal)) === held?.skeleton,
    remove: async (signal) => {
      [isCertain, isGone] = [false, false];
      await runNft(`table ${table.name}\ndelete table ${table.name}\n`, signal);
      held = undefined; // not before: after a failure it is still to be removed
    },
  };
}

/** Whether a table has these sets, maps and chains, and no others beside those that are part of rules. */
function hasOnly(parts: readonly string[], skeleton: string): boolean {
  const names = (JSON.parse(skeleton) as readonly Readonly<Record<string, { readonly name?: string }>>[]).flatMap(
    ({ set, map, chain }) => (set ?? map ?? chain)?.name ?? [],
  );
  const own = new Set(parts);
  const others = names.filter((name) => !own.has(name) && !name.startsWith('__'));
  return others.length === 0;
}

/** nft's message on one line, without the position in its input, which differs between attempts. */
function wordsOf(error: unknown): string {
  const text = error instanceof ExecError ? error.stderr : messageOf(error);
  const [line = ''] = text.trim().split('\n');
  return `nft: ${line.replace(/^[^:\s]*(?::\d+)+(?:-\d+)*:\s*/, '')}`;
}
