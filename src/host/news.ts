import { bitsOf, type Ip, parseIp } from '../core/ip/ip.ts';
import { isOurInterface, isRoutable, type NetworkInterface } from './interfaces.ts';
import type { NetworkEvent } from './kernel-events.ts';
import type { PlacementRecord } from '../ports/placement.ts';

/** The knowledge about the host at the time of an event. */
export type KnownHost = {
  readonly interfaces: readonly NetworkInterface[];
  readonly own: ReadonlyMap<string, Ip>;
  /** The interfaces of furiwake's addresses, now or soon: set before addresses are added or removed. */
  readonly record: PlacementRecord;
  /** The host is being read again; the result may not contain the change. */
  readonly isBeingRead: boolean;
};

/** A change after which the host must be read again. */
export type News = {
  /** Numbers of the interfaces that came up or changed their MAC: their neighbours do not know furiwake's addresses. */
  readonly linksUp: readonly number[];
};

type LinkState = { readonly name: string; readonly isRunning: boolean; readonly mac: string | undefined };

const noLinks: News = { linksUp: [] };

/**
 * Drops the events that furiwake caused itself and those that do not concern placement (a renewed lifetime, a link-local
 * address, a flag of an interface): reading a host with ten thousand addresses takes a tenth of a second.
 */
export function makeNewsFilter(known: () => KnownHost): (event: NetworkEvent) => News | undefined {
  /** As last reported by the kernel, by number. */
  const links = new Map<number, LinkState>();
  let isFirst = true;

  const linkAt = (index: number): LinkState | undefined =>
    links.get(index) ?? known().interfaces.find((link) => link.index === index);

  const ofLink = (index: number, now: LinkState): News | undefined => {
    const before = linkAt(index);
    links.set(index, now);
    const isSameMac = before?.mac === undefined || before.mac === now.mac; // without MAC: not an Ethernet interface
    if (before?.name === now.name && before.isRunning === now.isRunning && isSameMac) return undefined;
    if (isOurInterface(now.name)) return before?.isRunning === true && !now.isRunning ? noLinks : undefined;
    return now.isRunning && (before?.isRunning !== true || !isSameMac) ? { linksUp: [index] } : noLinks;
  };

  const ofLinkGone = (index: number): News | undefined => {
    const name = linkAt(index)?.name;
    links.delete(index);
    if (name === undefined || !isOurInterface(name)) return noLinks;
    return new Set(known().record.values()).has(name) ? noLinks : undefined;
  };

  const ofAddress = ({ kind, index, prefixLength, address }: AddressEvent): News | undefined => {
    const ip = parseIp(address);
    if (ip === undefined || !isRoutable(ip)) return undefined;
    const { own, record, isBeingRead } = known();
    if (isBeingRead) return noLinks;
    const place = record.get(ip.text);
    const isPlaced = place !== undefined && place === linkAt(index)?.name && prefixLength === bitsOf(ip.family);
    const isKnown =
      kind === 'added' ? isPlaced || (place === undefined && own.has(ip.text)) : !isPlaced && !own.has(ip.text);
    return isKnown ? undefined : noLinks;
  };

  return (event) => {
    switch (event.kind) {
      case 'unsure': {
        // At the start no link counts as new: every address is announced then anyway.
        const linksUp = isFirst ? [] : known().interfaces.map(({ index }) => index);
        isFirst = false;
        links.clear();
        return { linksUp };
      }
      case 'link':
        return ofLink(event.index, event);
      case 'link gone':
        return ofLinkGone(event.index);
      case 'route':
      case 'forwarding':
        return noLinks;
      case 'added':
      case 'removed':
        return ofAddress(event);
    }
  };
}

type AddressEvent = Extract<NetworkEvent, { readonly address: string }>;
