import { type Ip, ipOf } from '../../core/ip/ip.ts';
import { formatRange, rangeContains } from '../../core/ip/range.ts';
import type { Row } from '../../core/traffic/table.ts';

/*
 * What a traffic table puts into the kernel: elements of eight sets. The rules never change.
 *
 *   row 192.0.2.51|80|TCP, open           listeners4   192.0.2.51 . 80 : 10000      (where HAProxy listens)
 *   row 192.0.2.52|443|TCP, 10.0.0.0/8    listeners4   192.0.2.52 . 443 : 10000
 *                                         restricted4  192.0.2.52 . 443
 *                                         allowed4     192.0.2.52 . 443 . 10.0.0.0-10.255.255.255
 *   added 192.0.2.51, 192.0.2.52          vips4        192.0.2.51, 192.0.2.52       (all else is refused there)
 */

/** The sets and maps of the table, one per family. */
export const setNames = [
  'listeners4',
  'listeners6',
  'restricted4',
  'restricted6',
  'allowed4',
  'allowed6',
  'vips4',
  'vips6',
] as const;

export type SetName = (typeof setNames)[number];

/** One element, as nft reads it. Holds nothing but addresses, ports and ranges of addresses. */
export type Element = { readonly set: SetName; readonly text: string };

/** A row, the loopback port that its packets go to, and the host's own addresses. */
export type Entry = { readonly row: Row; readonly proxyPort: number; readonly own: ReadonlyMap<string, Ip> };

/** A row that this data plane cannot serve, or a value that must never reach nft: a bug upstream, not a user's. */
export class RowError extends Error {
  override readonly name = 'RowError';
  readonly code = 'ROW_REFUSED';
}

/** Tells elements apart over all sets. */
export function elementKey({ set, text }: Element): string {
  return `${set} ${text}`;
}

/**
 * What a row puts into the kernel; throws {@link RowError} for one that is not TCP. A connection of the host itself has
 * the address that it goes to as its source, too: that one is let in where an own address of the host is, as kube-proxy
 * does it.
 */
export function entryElements({ row, proxyPort, own }: Entry): readonly Element[] {
  if (row.protocol !== 'TCP') throw new RowError(`${row.key}: ${row.protocol} cannot be sent to HAProxy, only TCP can`);
  const family = row.address.family;
  const listener = `${addressText(row.address)} . ${portText(row.port)}`;
  const elements: Element[] = [{ set: `listeners${family}`, text: `${listener} : ${portText(proxyPort)}` }];
  if (row.sourceRanges === undefined) return elements;
  elements.push({ set: `restricted${family}`, text: listener });
  for (const range of row.sourceRanges) {
    if (range.family !== family) throw new RowError(`${row.key}: a source range of IPv${range.family}`);
    elements.push({ set: `allowed${family}`, text: `${listener} . ${formatRange(range)}` });
  }
  const isAllowed = (ip: Ip): boolean => row.sourceRanges?.some((range) => rangeContains(range, ip)) === true;
  if (!isAllowed(row.address) && [...own.values()].some(isAllowed))
    elements.push({ set: `allowed${family}`, text: `${listener} . ${addressText(row.address)}` });
  return elements;
}

/** What refuses all but listeners on an address of ours. */
export function vipElement(ip: Ip): Element {
  return { set: `vips${ip.family}`, text: addressText(ip) };
}

/** The last gate before nft: whatever built the value, only the canonical text of an address passes. */
function addressText(ip: Ip): string {
  if (ipOf(ip.family, ip.value).text !== ip.text) throw new RowError(`${JSON.stringify(ip.text)} is no address`);
  return ip.text;
}

function portText(port: number): string {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new RowError(`${port} is no port`);
  return port.toFixed(0);
}
