import { parseRange } from '../../src/core/ip/range.ts';
import { elementKey } from '../../src/dataplane/nftables/element.ts';
import type { TableSpec } from '../../src/dataplane/nftables/table-text.ts';
import { ExecError } from '../../src/ports/exec.ts';

/** A table in a kernel in memory. */
export type FakeTable = {
  readonly rules: string;
  /** Another one each time that the chains and rules are written. */
  readonly handle: number;
  readonly generation: number;
  /** The declarations of its sets, by name. */
  readonly declared: ReadonlyMap<string, string>;
  /** As `set element`, by the same without the value. */
  readonly elements: ReadonlyMap<string, string>;
};

/** The table after a transaction. Throws the refusals of nft and of the kernel. */
export function transacted(table: FakeTable | undefined, text: string, spec: TableSpec): FakeTable | undefined {
  const next = text.startsWith('table') ? written(table, text) : changed(table, text, spec);
  if (next !== undefined) refuseOverlaps(next.elements);
  return next;
}

export function elementsByKey(elements: Iterable<string>): ReadonlyMap<string, string> {
  return new Map(Array.from(elements, (element) => [keyOf(element), element]));
}

function written(table: FakeTable | undefined, text: string): FakeTable | undefined {
  const isRefill = /^table .*\nflush table/.test(text);
  if (isRefill && table === undefined) throw refusal('No such file or directory');
  const [head = '', ...parts] = text.slice(text.lastIndexOf('\ntable ')).split(/^\t(?=set|map|chain)/m);
  if (parts.length === 0) return undefined;
  const declared = new Map<string, string>();
  const elements = new Map<string, string>();
  let generation = Number.NaN;
  for (const part of parts) {
    const [, name, words = '', listed = ''] =
      /^(?:set|map) (\w+) \{ ([^=}]*?)[;\s]*(?:elements = \{([^}]*)\}[;\s]*)?\}/.exec(part) ?? [];
    if (name === undefined) continue;
    if (isRefill && (table?.declared.get(name) ?? words) !== words)
      throw refusal('Could not process rule: File exists');
    declared.set(name, words);
    if (name === 'generation') generation = Number(listed);
    else if (listed !== '') for (const element of listed.split(',')) add(elements, name, element);
  }
  const rules = head + parts.filter((part) => part.startsWith('chain')).join('');
  return { rules, handle: nextHandle++, generation, declared, elements };
}

let nextHandle = 1;

function changed(table: FakeTable | undefined, text: string, spec: TableSpec): FakeTable {
  if (table === undefined) throw refusal('No such file or directory');
  let { generation } = table;
  const elements = new Map(table.elements);
  for (const statement of text.split('; ')) {
    const [before = '', list = ''] = statement.split(/ \{ | \}$/);
    const [verb, , family, ofTable, name = ''] = before.split(' ');
    if (`${family} ${ofTable}` !== spec.name || !table.declared.has(name)) throw refusal('No such file or directory');
    if (name === 'generation') {
      if (verb === 'delete' && generation !== Number(list)) throw noSuchElement();
      generation = Number(list);
      if (!Number.isInteger(generation)) throw refusal(`syntax error: ${statement}`);
    } else if (verb === 'add') for (const element of list.split(',')) add(elements, name, element);
    else
      for (const element of list.split(',')) {
        const gone = elementKey({ set: name, text: removedText(name, element.trim()) });
        if (!elements.has(keyOf(gone))) throw noSuchElement();
        elements.delete(keyOf(gone));
      }
  }
  return { ...table, generation, elements };
}

/** nft 1.0.6 removes an element of a set of ranges only if its number is a range, too. */
function removedText(set: string, text: string): string {
  return set.startsWith('sources') ? text.replace(/^(\S+)-\1 |^/, '$1 ') : text;
}

/** The kernel accepts an element that is there, with the same value; furiwake never adds one. */
function add(elements: Map<string, string>, set: string, text: string): void {
  const element = elementKey({ set, text: text.trim() });
  if (elements.has(keyOf(element))) throw refusal('Could not process rule: File exists');
  elements.set(keyOf(element), element);
}

function keyOf(element: string): string {
  return element.split(' : ')[0] ?? '';
}

/** Within a list, by its number. */
function refuseOverlaps(elements: FakeTable['elements']): void {
  const lists = new Map<string, { readonly first: bigint; readonly last: bigint }[]>();
  for (const element of elements.keys()) {
    if (!element.startsWith('sources')) continue;
    const [list = '', text = ''] = element.split(' . ');
    const range = parseRange(text);
    if (range === undefined) continue;
    const ranges = lists.get(list) ?? [];
    ranges.push({ first: range.first, last: range.last });
    lists.set(list, ranges);
  }
  for (const ranges of lists.values()) {
    ranges.sort((a, b) => (a.first < b.first ? -1 : 1));
    if (ranges.some(({ first }, index) => index > 0 && first <= (ranges[index - 1]?.last ?? -1n)))
      throw refusal('Could not process rule: File exists');
  }
}

function noSuchElement(): ExecError {
  return refusal('Could not process rule: No such file or directory');
}

export function refusal(words: string): ExecError {
  return new ExecError('nft', 1, `Error: ${words}\n`);
}

/** nft's JSON of one set. */
export function setJson(
  name: string,
  { declared, elements }: FakeTable,
  isTerse = false,
): { readonly set: { readonly name: string } } {
  const isCounting = declared.get(name)?.includes('counter') === true;
  const elem = isTerse ? [] : [...elements.values()].filter((each) => each.startsWith(`${name} `));
  const json = elem.map((each) => elementJson(each.slice(name.length + 1), isCounting));
  return { set: { name, ...(json.length > 0 && { elem: json }) } };
}

function elementJson(text: string, isCounting: boolean): unknown {
  const [left = '', value] = text.split(' : ');
  const parts = left.split(' . ').map((part): unknown => {
    if (part.includes('-') && !part.startsWith('"')) return { range: part.split('-') };
    return scalarJson(part);
  });
  const key = parts.length === 1 ? parts[0] : { concat: parts };
  const counted = isCounting ? { elem: { val: key, counter: null } } : key;
  if (value === undefined) return counted;
  const [, verdict, target] = /^(jump|goto) (\w+)$/.exec(value) ?? [];
  return [counted, verdict === undefined ? scalarJson(value) : { [verdict]: { target } }];
}

function scalarJson(text: string): unknown {
  if (text.startsWith('"')) return JSON.parse(text);
  if (text === '0:0') return 'none';
  return /^\d+$/.test(text) ? Number(text) : text;
}
