import { PassThrough } from 'node:stream';
import { createInterface } from 'node:readline';
import { steeringTable } from '../../src/dataplane/nftables/ruleset.ts';
import type { TableSpec } from '../../src/dataplane/nftables/table-text.ts';
import { type Exec, ExecError } from '../../src/ports/exec.ts';
import { virtualClock } from '../sim/virtual-clock.ts';
import { makeFakeIp } from './fake-ip.ts';
import { elementsByKey, type FakeTable, refusal, setJson, transacted } from './fake-nft-table.ts';

/** `nft` and `ip rule`, with a kernel in memory that understands the texts that furiwake writes. */
export type FakeNft = {
  readonly exec: Exec;
  /** Elements in the kernel, as `set element`; `undefined`: there is no table. */
  elements(): ReadonlySet<string> | undefined;
  /** Transactions so far, accepted or not. */
  transactions(): number;
  /** The texts of the accepted ones. */
  readonly accepted: string[];
  /** Changes the kernel like another program. */
  change(work: (elements: Set<string>) => void): void;
  /** Deletes the table like another program. */
  flush(): void;
};

/**
 * `refuse` gets all elements that the table would have after a transaction, and may return nft's message to refuse it.
 * Without a session the running nft process ends at once, which is permitted.
 */
export function makeFakeNft({
  refuse = () => undefined,
  hasSession = true,
  table: spec = steeringTable,
}: {
  readonly refuse?: (elements: ReadonlySet<string>) => string | undefined;
  readonly hasSession?: boolean;
  /** The only table that it knows. */
  readonly table?: TableSpec;
} = {}): FakeNft {
  let table: FakeTable | undefined;
  let transactions = 0;
  const accepted: string[] = [];
  const { exec: ip } = makeFakeIp({ clock: virtualClock() });

  const transact = (text: string): void => {
    transactions++;
    const next = transacted(table, text, spec);
    const words = refuse(new Set(next?.elements.values()));
    if (words !== undefined) throw new ExecError('nft', 1, `/dev/stdin:${transactions}:7-9: ${words}\n  ^^^^^\n`);
    table = next;
    accepted.push(text);
  };

  const list = (args: readonly string[]): string => {
    if (table === undefined && args.includes('ruleset')) return json();
    if (table === undefined) throw refusal('No such file or directory');
    if (args.includes('generation')) return generationJson(table.generation);
    const { rules, handle, declared } = table;
    const sets = Array.from(declared.keys(), (name) => setJson(name, table as FakeTable, args.includes('--terse')));
    return json({ rule: { rules, handle } }, ...sets.filter(({ set }) => set.name !== 'generation'));
  };

  /** An answer for each set that there is. */
  const listSets = (commands: string): string => {
    const names = Array.from(commands.matchAll(/^list (?:set|map) \S+ \S+ (\S+)$/gm), ([, name = '']) => name);
    return names.map((name) => (table?.declared.has(name) === true ? `${json(setJson(name, table))}\n` : '')).join('');
  };

  const exec: Exec = {
    run: async (file, args, { stdin = '', signal }) => {
      signal.throwIfAborted();
      if (file === 'ip') return await ip.run(file, args, { stdin, signal });
      if (args.includes('--interactive')) return { stdout: listSets(stdin), stderr: '' };
      if (!args.includes('--file')) return { stdout: list(args), stderr: '' };
      transact(stdin.trimEnd());
      return { stdout: '', stderr: '' };
    },
    spawn: (file, args, signal) => {
      if (file === 'ip') return ip.spawn(file, args, signal);
      const output = new PassThrough();
      const exited = Promise.withResolvers<number>();
      const end = (): void => {
        output.end();
        exited.resolve(0);
      };
      signal.addEventListener('abort', end, { once: true });
      let errors = '';
      return {
        pid: 1,
        write: async (text) => {
          if (!hasSession) throw new ExecError('nft', undefined, 'EPIPE');
          try {
            transact(text.split('\n')[0] ?? '');
          } catch (error) {
            if (error instanceof ExecError) errors += error.stderr;
          }
          if (table !== undefined) output.write(`${generationJson(table.generation)}\n`);
          output.write('meta expression\n');
        },
        lines: createInterface({ input: output }),
        takeErrors: async () => {
          const taken = errors;
          errors = '';
          return taken;
        },
        exited: exited.promise,
        [Symbol.asyncDispose]: async () => end(),
      };
    },
  };
  return {
    exec,
    elements: () => table && new Set(table.elements.values()),
    transactions: () => transactions,
    accepted,
    change: (work) => {
      if (table === undefined) return;
      const elements = new Set(table.elements.values());
      work(elements);
      table = { ...table, elements: elementsByKey(elements) };
    },
    flush: () => {
      table = undefined;
    },
  };
}

const metainfo = { metainfo: { version: '1.0.6', release_name: 'Lester Gooch #5', json_schema_version: 1 } };

function json(...objects: readonly object[]): string {
  return JSON.stringify({ nftables: [metainfo, ...objects] });
}

function generationJson(generation: number): string {
  return json({ set: { name: 'generation', elem: [generation] } });
}
