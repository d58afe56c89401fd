import { jsonAnswer } from '../../ports/exec.ts';
import { parseIp } from '../../core/ip/ip.ts';
import { formatRange, parseCidr, parseRange } from '../../core/ip/range.ts';
import { elementKey } from './element.ts';
import type { TableSpec } from './table-text.ts';

/** The contents of furiwake's table in the kernel. */
export type Listing = {
  /** Chains, rules and sets with their handles, to be compared as text; without elements and counters. */
  readonly skeleton: string;
  /** Elements as {@link elementKey} writes them; those in a form that furiwake never writes as JSON. */
  readonly elements: ReadonlySet<string>;
};

type NftAnswer = { readonly nftables: readonly Readonly<Record<string, unknown>>[] };

/** Reads an answer of `nft --json --stateless list …`; skips other tables. */
export function decodeListing(json: string, { name, sets, textOf }: TableSpec): Listing {
  const skeleton: unknown[] = [];
  const elements = new Set<string>();
  for (const object of (jsonAnswer('nft', json) as NftAnswer).nftables) {
    if (!isOfTable(object, name.split(' ')[1])) continue;
    const set = (object['set'] ?? object['map']) as { readonly name: string; readonly elem?: readonly unknown[] };
    if (set?.elem === undefined) {
      if (object['metainfo'] === undefined) skeleton.push(object);
      continue;
    }
    const { elem, ...rest } = set;
    if (set.name.startsWith('__set')) skeleton.push(set); // a set that is part of a rule
    else skeleton.push(object['map'] === undefined ? { set: rest } : { map: rest });
    if (set.name in sets)
      for (const element of elem)
        elements.add(elementKey({ set: set.name, text: textOf(set.name, withoutCounter(element)) }));
  }
  return { skeleton: JSON.stringify(skeleton), elements };
}

/** Everything but a table says of which table it is. */
function isOfTable(object: NftAnswer['nftables'][number], table: string | undefined): boolean {
  const part = Object.values(object)[0] as { readonly table?: string; readonly name?: string };
  return (part.table ?? (object['table'] === undefined ? table : part.name)) === table;
}

/** An element of a set or map that counts is nft's JSON of the key with a counter around it. */
function withoutCounter(element: unknown): unknown {
  if (Array.isArray(element)) return element.map(withoutCounter);
  const isCounting = typeof element === 'object' && element !== null && 'elem' in element;
  return isCounting ? (element.elem as { readonly val: unknown }).val : element;
}

/** nft's JSON of a key in furiwake's form; nft's own text differs (prefixes for ranges, `::1.2.3.4`). */
export function concatText(value: unknown): string {
  if (typeof value !== 'object' || value === null || !('concat' in value)) return scalarText(value);
  return (value.concat as readonly unknown[]).map(scalarText).join(' . ');
}

type Scalar =
  | string
  | number
  | { readonly prefix: { readonly addr: string; readonly len: number } }
  | { readonly range: readonly [string, string] };

export function scalarText(value: unknown): string {
  const scalar = value as Scalar;
  if (typeof scalar === 'number') return scalar.toFixed(0);
  if (typeof scalar === 'string')
    return parseIp(scalar)?.text ?? (/^[\w:]+$/.test(scalar) ? scalar : JSON.stringify(scalar));
  const range =
    'prefix' in scalar
      ? parseCidr(`${scalar.prefix.addr}/${scalar.prefix.len}`)
      : 'range' in scalar
        ? parseRange(scalar.range.join('-'))
        : undefined;
  return range === undefined ? JSON.stringify(scalar) : formatRange(range);
}

/** nft's JSON of the verdict of an element, `jump keep4for600`. */
export function verdictText(verdict: unknown): string {
  const { jump, goto } = verdict as { readonly [V in 'jump' | 'goto']?: { readonly target?: string } };
  if (jump?.target !== undefined) return `jump ${jump.target}`;
  return goto?.target === undefined ? JSON.stringify(verdict) : `goto ${goto.target}`;
}
