import type { Ip } from '../../core/ip/ip.ts';
import { rangeContains } from '../../core/ip/range.ts';
import type { Listener } from '../../core/traffic/table.ts';
import { addressText, type Element, ListenerError, portText } from './element.ts';
import { type RangeList, rangeListOf } from './range-lists.ts';

/*
 * The elements of a traffic table in the kernel, in fourteen sets. The rules never change.
 *
 *   192.0.2.51|80|TCP, open               listeners4   192.0.2.51 . 80 : 292         (where HAProxy listens)
 *   192.0.2.52|443|TCP, 10.0.0.0/8        listeners4   192.0.2.52 . 443 : 292
 *                                         refused4     192.0.2.52 . 443               (counts)
 *                                         ranges4      192.0.2.52 . 443 : 0:1         (the number of its ranges, `range-lists.ts`)
 *                                         sources4     0:1 . 10.0.0.0-10.255.255.255
 *   192.0.2.51|80|TCP, drained            closed4      192.0.2.51 . 80              (or without a server or an endpoint)
 *   192.0.2.51|53|UDP, nat                passed4      192.0.2.51 . udp . 53        (another table serves it)
 *   added 192.0.2.51, 192.0.2.52          vips4        192.0.2.51, 192.0.2.52       (everything else is rejected there)
 */

/**
 * The elements of a listener. `proxyPort` is the loopback port of HAProxy, `own` the host's own addresses. A connection
 * from the host itself to an address on it also has this address as source: it is allowed if the ranges contain an own
 * address of the host, as in kube-proxy. Throws {@link ListenerError}.
 */
export function listenerElements(
  { address, key, port, protocol, sourceRanges }: Listener,
  proxyPort: number,
  own: ReadonlyMap<string, Ip>,
): readonly Element[] {
  if (protocol !== 'TCP') throw new ListenerError(`${key}: nftables steers only TCP to HAProxy`);
  const { family } = address;
  const listener = listenerText({ address, port });
  const elements: Element[] = [{ set: `listeners${family}`, text: `${listener} : ${portText(proxyPort)}` }];
  if (sourceRanges === undefined) return elements;
  elements.push(
    { set: `refused${family}`, text: listener },
    { set: `ranges${family}`, text: listener, list: ownedRangeListOf({ address, key, sourceRanges }, own) },
  );
  return elements;
}

/** The source ranges of a listener with some, for tables that find them by the priority; with its address where {@link needsOwnRange}. */
export function ownedRangeListOf(
  listener: Pick<Listener, 'address' | 'key' | 'sourceRanges'>,
  own: ReadonlyMap<string, Ip>,
): RangeList {
  return rangeListOf(listener, 'priority', needsOwnRange(listener, own) ? listener.address : undefined);
}

/** Whether the address of the listener must be an allowed source, too: the ranges contain an own address of the host, and not it. */
export function needsOwnRange(
  { address, sourceRanges = [] }: Pick<Listener, 'address' | 'sourceRanges'>,
  own: ReadonlyMap<string, Ip>,
): boolean {
  const isAllowed = (ip: Ip): boolean => sourceRanges.some((range) => rangeContains(range, ip));
  return !isAllowed(address) && [...own.values()].some(isAllowed);
}

/** The element that lets packets of a listener of `nat` pass. */
export function passedElement({ address, port, protocol }: Listener): Element {
  const text = `${addressText(address)} . ${protocol.toLowerCase()} . ${portText(port)}`;
  return { set: `passed${address.family}`, text };
}

/** The element that refuses new connections to a listener. */
export function closedElement(listener: Listener): Element {
  return { set: `closed${listener.address.family}`, text: listenerText(listener) };
}

/** The key of a listener in most sets. */
function listenerText({ address, port }: Pick<Listener, 'address' | 'port'>): string {
  return `${addressText(address)} . ${portText(port)}`;
}

/** The element that rejects everything except listeners on an address. */
export function vipElement(ip: Ip): Element {
  return { set: `vips${ip.family}`, text: addressText(ip) };
}
