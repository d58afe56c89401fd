import type { Element } from './element.ts';
import type { ElementChange } from './mirror.ts';

/** A table of nftables that belongs to furiwake alone. Its elements change with each listener, its rules rarely. */
export type TableSpec = {
  /** Family and name. */
  readonly name: string;
  /** The number of the family in netlink messages (`NFPROTO_…`). */
  readonly family: number;
  /** The declaration of each set and map, without its closing brace. */
  readonly sets: Readonly<Record<string, string>>;
  /**
   * The same of sets whose elements the kernel removes after a time. furiwake only adds to them: an element that has just gone would make
   * its removal fail, and with it the transaction (`destroy element` needs nft 1.0.7).
   */
  readonly lapsing?: Readonly<Record<string, string>>;
  /** A change that removes more source ranges writes the whole table again. */
  readonly mostRangesRemoved: number;
  /**
   * The kernel adds elements to sets beside `sets`: as many as there are flows. nft reads all of them to list the table, one
   * second for 65,000, so it lists the rules and each of `sets` instead. That works where few other tables are of the family. The text
   * says what is lost with the table; `undefined`: nothing.
   */
  readonly learns: string | undefined;
  /** The chain at ingress of devices, if there is one: nft adds no device to one that exists. */
  readonly deviceChain?: string;
  /** Declarations of sets that an earlier release had in the table: where what the kernel has learnt stays, they are removed. */
  readonly former?: Readonly<Record<string, string>>;
  /** nft's JSON of an element of a set, as the text that furiwake writes. */
  readonly textOf: (set: string, element: unknown) => string;
};

/**
 * The whole table as text for `nft -f`: atomically replaces an existing table of that name. The same elements give the
 * same bytes, whatever their order. `generation` identifies this state (see {@link renderChange}).
 */
export function renderTable(table: TableSpec, elements: readonly Element[], generation: number, rules: string): string {
  const { name, sets, lapsing = {} } = table;
  const bySet = group(elements);
  const declared = Object.entries({ ...sets, ...lapsing }).map(([set, declaration]) => {
    const texts = [...(bySet.get(set) ?? [])].sort();
    const list = texts.length === 0 ? '' : `\n\t\telements = {\n\t\t\t${texts.join(',\n\t\t\t')}\n\t\t}\n\t`;
    return `\t${declaration}${list || ' '}}\n`;
  });
  return [
    renderDeletion(table),
    `table ${name} {\n`,
    '\tcomment "managed by furiwake: external changes are reverted"\n',
    `\tset generation { type mark; elements = { ${hex(generation)} }; }\n`,
    ...declared,
    rules,
    '}\n',
  ].join('');
}

/**
 * The same, but an existing table is emptied and filled again, so that what the kernel has learnt stays. nft refuses it if there is no
 * such table, or one with other declarations. Foreign chains and sets stay.
 */
export function renderRefill(
  table: TableSpec,
  elements: readonly Element[],
  generation: number,
  rules: string,
): string {
  const { deviceChain, former = {}, name, sets, lapsing = {} } = table;
  const kindOf = (declaration: string): string => declaration.slice(0, declaration.indexOf(' '));
  const kept = Object.entries({ ...sets, ...lapsing });
  const ended = Object.entries(former);
  return [
    `table ${name}\nflush table ${name}\n`,
    // A set that exists is declared again without an effect, so one that does not can be flushed, or deleted.
    `table ${name} {\n${[...kept, ...ended].map(([, declaration]) => `\t${declaration} }\n`).join('')}}\n`,
    ...ended.map(([set, declaration]) => `delete ${kindOf(declaration)} ${name} ${set}\n`),
    `flush set ${name} generation\n`,
    ...kept.map(([set, declaration]) => `flush ${kindOf(declaration)} ${name} ${set}\n`),
    ...(deviceChain === undefined ? [] : [`delete chain ${name} ${deviceChain}\n`]),
    renderTable(table, elements, generation, rules).slice(renderDeletion(table).length),
  ].join('');
}

/** The names of the sets, maps and chains in a table. */
export function partsOf(text: string): readonly string[] {
  return Array.from(text.matchAll(/^\t(?:set|map|chain) (\w+) \{/gm), ([, name = '']) => name);
}

function renderDeletion({ name }: Pick<TableSpec, 'name'>): string {
  return `table ${name}\ndelete table ${name}\n`;
}

/**
 * A change as one line, which nft executes as one transaction. It also replaces the generation `from` by `to`, so it
 * fails as a whole if the kernel is in another state than expected, and `to` afterwards proves that this transaction is
 * in force.
 */
export function renderChange(
  { name, lapsing = {} }: Pick<TableSpec, 'name' | 'lapsing'>,
  change: Pick<ElementChange, 'remove' | 'add'>,
  from: number,
  to: number,
): string {
  const removable = change.remove.filter(({ set }) => !(set in lapsing));
  const removed = group(removable.map((element) => ({ ...element, text: removalOf(element) })));
  return [
    `delete element ${name} generation { ${hex(from)} }`,
    `add element ${name} generation { ${hex(to)} }`,
    ...[...removed].map(([set, texts]) => `delete element ${name} ${set} { ${texts.join(',')} }`),
    ...[...group(change.add)].map(([set, texts]) => `add element ${name} ${set} { ${texts.join(',')} }`),
  ].join('; ');
}

/**
 * The text that removes an element: without its value, because `nft -i` reads its input byte by byte. nft 1.0.6 swaps
 * the bytes of a number that it adds to a set of ranges, and of one that it removes only if that is a range as well.
 */
function removalOf({ set, text }: Element): string {
  const [key = ''] = text.split(' : ');
  return set.startsWith('sources') ? key.replace(/^\S+/, '$&-$&') : key;
}

function group(elements: readonly Element[]): ReadonlyMap<string, readonly string[]> {
  const bySet = new Map<string, string[]>();
  for (const { set, text } of elements) {
    const texts = bySet.get(set);
    if (texts === undefined) bySet.set(set, [text]);
    else texts.push(text);
  }
  return bySet;
}

export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
