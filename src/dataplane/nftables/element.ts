import { type Ip, ipOf } from '../../core/ip/ip.ts';
import type { RangeList } from './range-lists.ts';

/**
 * One element of a set or map, in nft's syntax. Contains only numbers, addresses and ranges of addresses. With a `list`, `text` is its
 * key, and the kernel has the number of the list as its value.
 */
export type Element = { readonly set: string; readonly text: string; readonly list?: RangeList };

/** A listener that nftables cannot serve, or a value that must not be passed to nft. */
export class ListenerError extends Error {
  override readonly name = 'ListenerError';
  readonly code = 'LISTENER_REFUSED';
}

/** A key of an element that is unique over all sets of a table. */
export function elementKey({ set, text, list }: Element): string {
  return list === undefined ? `${set} ${text}` : `${set} ${text} : ${list.key}`;
}

/** Those of `elements` that are not `present`. */
export function absentFrom(present: readonly Element[], elements: readonly Element[]): readonly Element[] {
  if (present.length === 0) return elements;
  const texts = new Set(present.map(elementKey));
  return elements.filter((element) => !texts.has(elementKey(element)));
}

/** The last check before nft: accepts only the canonical text of an address. */
export function addressText(ip: Ip): string {
  if (ipOf(ip.family, ip.value).text !== ip.text)
    throw new ListenerError(`${JSON.stringify(ip.text)} is not an address`);
  return ip.text;
}

export function portText(port: number): string {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new ListenerError(`${port} is not a port`);
  return port.toFixed(0);
}

/** A number as a TC handle, `major:minor` in hexadecimal: the type of the priority. */
export function classText(id: number): string {
  return `${(id >>> 16).toString(16)}:${(id & 0xffff).toString(16)}`;
}

/** IANA protocol numbers. */
export const protocolNumbers = { TCP: 6, UDP: 17, SCTP: 132 } as const;
