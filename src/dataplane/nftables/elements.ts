import type { Ip } from '../../core/ip/ip.ts';
import { formatRange, rangeContains } from '../../core/ip/range.ts';
import type { Listener } from '../../core/traffic/table.ts';
import { addressText, type Element, ListenerError, portText } from './element.ts';

/*
 * The elements of a traffic table in the kernel, in twelve sets. The rules never change.
 *
 *   192.0.2.51|80|TCP, open               listeners4   192.0.2.51 . 80 : 292         (where HAProxy listens)
 *   192.0.2.52|443|TCP, 10.0.0.0/8        listeners4   192.0.2.52 . 443 : 292
 *                                         restricted4  192.0.2.52 . 443
 *                                         refused4     192.0.2.52 . 443               (counts)
 *                                         allowed4     192.0.2.52 . 443 . 10.0.0.0-10.255.255.255
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
  for (const set of ['restricted', 'refused'] as const) elements.push({ set: `${set}${family}`, text: listener });
  for (const range of sourceRanges) {
    if (range.family !== family) throw new ListenerError(`${key}: a source range of IPv${range.family}`);
    elements.push({ set: `allowed${family}`, text: `${listener} . ${formatRange(range)}` });
  }
  if (needsOwnRange({ address, sourceRanges }, own))
    elements.push({ set: `allowed${family}`, text: `${listener} . ${addressText(address)}` });
  return elements;
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
