import { PassThrough } from 'node:stream';
import { createInterface } from 'node:readline';
import { elementKey } from '../../src/dataplane/nftables/element.ts';
import { steeringTable } from '../../src/dataplane/nftables/ruleset.ts';
import type { TableSpec } from '../../src/dataplane/nftables/table-text.ts';
import { type Exec, ExecError } from '../../src/ports/exec.ts';

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

type Table = { readonly rules: string; generation: number; readonly elements: Set<string> };

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
  const setNames = Object.keys(spec.sets);
  let table: Table | undefined;
  let transactions = 0;
  const accepted: string[] = [];
  let isRouted = true;

  const transact = (text: string): void => {
    transactions++;
    const next = text.startsWith('table') ? replaced(text, setNames) : changed(table, text, spec);
    if (next.rules !== '' && !Number.isInteger(next.generation))
      throw new ExecError('nft', 1, `Error: syntax error: ${text}\n`);
    const words = refuse(next.elements);
    if (words !== undefined) throw new ExecError('nft', 1, `/dev/stdin:${transactions}:7-9: ${words}\n  ^^^^^\n`);
    table = next.rules === '' ? undefined : next;
    accepted.push(text);
  };

  const list = (args: readonly string[]): string => {
    if (table === undefined) throw new ExecError('nft', 1, 'Error: No such file or directory\n');
    if (args.includes('generation')) return generationJson(table.generation);
    const { elements, rules } = table;
    const sets = setNames.map((name) => {
      const elem = args.includes('--terse') ? [] : elementsJson(name, elements);
      return { set: elem.length === 0 ? { name } : { name, elem } };
    });
    return JSON.stringify({ nftables: [{ rule: rules }, ...sets] });
  };

  const exec: Exec = {
    run: async (file, args, { stdin = '', signal }) => {
      signal.throwIfAborted();
      if (file === 'ip') {
        if (!stdin.includes(' list ')) isRouted = stdin.includes('rule add');
        return { stdout: isRouted ? routing : '', stderr: '' };
      }
      if (!args.includes('--file')) return { stdout: list(args), stderr: '' };
      transact(stdin.trimEnd());
      return { stdout: '', stderr: '' };
    },
    spawn: (file, _args, signal) => {
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
          if (file === 'ip') return void output.write(`${isRouted ? routing : '[]'}\n[]\n`);
          try {
            transact(text.split('\n')[0] ?? '');
          } catch (error) {
            if (error instanceof ExecError) errors += error.stderr;
          }
          if (table !== undefined) output.write(`${generationJson(table.generation)}\n`);
          output.write('meta expression\n');
        },
        lines: createInterface({ input: output }),
        takeErrors: () => {
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
    elements: () => table?.elements,
    transactions: () => transactions,
    accepted,
    change: (work) => {
      if (table !== undefined) work(table.elements);
    },
    flush: () => {
      table = undefined;
    },
  };
}

/** The output of `ip -json rule` and `ip -json route` with furiwake's rule and route. */
const routing = '[{"type":"local","dst":"default","dev":"lo","fwmark":"0x2000","fwmask":"0x2000","table":"8192"}]';

function replaced(text: string, setNames: readonly string[]): Table {
  const [rules = '', ...sets] = text.split(/^\t(?=set|map|chain)/m);
  const elements = new Set<string>();
  for (const set of sets) {
    const name = setNames.find((known) => set.startsWith(`set ${known} `) || set.startsWith(`map ${known} `));
    const listed = /elements = \{([^}]*)\}/.exec(set)?.[1] ?? '';
    if (name !== undefined && listed !== '')
      for (const element of listed.split(',')) addElement(elements, name, element);
  }
  return {
    rules: sets.length === 0 ? '' : rules + sets.filter((set) => set.startsWith('chain')).join(''),
    generation: Number(/generation \{ type mark; elements = \{ (\w+) \}/.exec(text)?.[1]),
    elements,
  };
}

function changed(table: Table | undefined, text: string, spec: TableSpec): Table {
  const noSuch = (): ExecError => new ExecError('nft', 1, 'Error: Could not process rule: No such file or directory\n');
  if (table === undefined) throw noSuch();
  let { generation } = table;
  const elements = new Set(table.elements);
  for (const statement of text.split('; ')) {
    const [before = '', list = ''] = statement.split(/ \{ | \}$/);
    const [verb, , family, ofTable, name = ''] = before.split(' ');
    const set = `${family} ${ofTable}` === spec.name && name in spec.sets ? name : undefined;
    if (name === 'generation') {
      if (verb === 'delete' && generation !== Number(list)) throw noSuch();
      generation = Number(list);
    } else if (set === undefined) throw new ExecError('nft', 1, `Error: syntax error: ${statement}\n`);
    else if (verb === 'add') for (const element of list.split(',')) addElement(elements, set, element);
    else
      for (const element of list.split(','))
        if (!elements.delete(elementKey({ set, text: removedText(set, element.trim()) }))) throw noSuch();
  }
  return { ...table, generation, elements };
}

/** nft 1.0.6 removes an element of a set of ranges only if its number is a range, too. */
function removedText(set: string, text: string): string {
  return set.startsWith('sources') ? text.replace(/^(\S+)-\1 |^/, '$1 ') : text;
}

function addElement(elements: Set<string>, set: string, text: string): void {
  const key = elementKey({ set, text: text.trim() });
  if (elements.has(key)) throw new ExecError('nft', 1, 'Error: Could not process rule: File exists\n');
  elements.add(key);
}

function generationJson(generation: number): string {
  return JSON.stringify({ nftables: [{ set: { elem: [generation] } }] });
}

function elementsJson(name: string, elements: ReadonlySet<string>): readonly unknown[] {
  return [...elements]
    .filter((key) => key.startsWith(`${name} `))
    .map((key) => {
      const [left = '', value] = key.slice(name.length + 1).split(' : ');
      const parts = left.split(' . ').map((part): unknown => {
        if (part.startsWith('"')) return JSON.parse(part);
        return part.includes('-') ? { range: part.split('-') } : /^\d+$/.test(part) ? Number(part) : part;
      });
      const element = parts.length === 1 ? parts[0] : { concat: parts };
      return value === undefined ? element : [element, /^\d+$/.test(value) ? Number(value) : value];
    });
}
