import { type Ip, parseIp } from '../core/ip/ip.ts';
import { isOurInterface, linkFinder, type NetworkInterface, ourInterface } from './interfaces.ts';
import type { Addresses } from '../ports/host.ts';
import type { PlacedAddress } from './kernel.ts';
import type { PlacementRecord } from '../ports/placement.ts';

type Placed = { readonly interfaces: readonly NetworkInterface[]; readonly record: PlacementRecord };
type Present = { readonly present: PlacementRecord };

/** For each new address the kernel checks all others of the interface. */
const mostPerInterface = 500;

/** The interface for each address: for IPv6 the one on its LAN; otherwise the recorded one, or the first with room. */
export function placesFor(addresses: readonly Ip[], { interfaces, record }: Placed): ReadonlyMap<string, string> {
  const counts = new Map<string, number>();
  for (const name of record.values()) counts.set(name, (counts.get(name) ?? 0) + 1);
  let number = 0;
  let name = ourInterface(number);
  const withRoom = (): string => {
    while ((counts.get(name) ?? 0) >= mostPerInterface) name = ourInterface(++number);
    return name;
  };
  const places = new Map<string, string>();
  const linkOf = linkFinder(interfaces);
  for (const address of addresses) {
    const link = address.family === 6 ? linkOf(address)?.name : undefined;
    const recorded = record.get(address.text);
    const place = link ?? (recorded !== undefined && isOurInterface(recorded) ? recorded : withRoom());
    places.set(address.text, place);
    counts.set(place, (counts.get(place) ?? 0) + 1);
  }
  return places;
}

/** The interfaces of furiwake that have no address in the record. */
export function emptiedBy(record: PlacementRecord, interfaces: readonly NetworkInterface[]): readonly string[] {
  const used = new Set(record.values());
  return interfaces.map(({ name }) => name).filter((name) => isOurInterface(name) && !used.has(name));
}

/** The IPv6 addresses of furiwake that are not on the interface on which neighbours resolve them. */
export function strayedFrom({ interfaces, record }: Placed): readonly Ip[] {
  const linkOf = linkFinder(interfaces);
  return [...record].flatMap(([text, place]) => {
    const address = text.includes(':') ? parseIp(text) : undefined;
    const link = address && linkOf(address)?.name;
    return address === undefined || link === undefined || link === place ? [] : address;
  });
}

/** Those of the addresses that have a place, each with its place. */
export function placesIn(places: ReadonlyMap<string, string>, addresses: readonly Ip[]): readonly PlacedAddress[] {
  return addresses.flatMap((address) => {
    const on = places.get(address.text);
    return on === undefined ? [] : { address, on };
  });
}

/** The addresses that the host had with a lifetime when it was read last. */
export function expiring({ interfaces }: Pick<Placed, 'interfaces'>): ReadonlySet<string> {
  const all = interfaces.flatMap(({ addresses }) => addresses);
  return new Set(all.filter(({ expires }) => expires).map(({ ip }) => ip.text));
}

/** The IPv6 addresses of furiwake without its mark: a release up to 0.1.0 added them. */
export function unmarkedIn({ interfaces, present }: Pick<Placed, 'interfaces'> & Present): readonly Ip[] {
  return interfaces.flatMap(({ name, addresses }) =>
    addresses.flatMap(({ ip, isMarked }) => (ip.family === 6 && !isMarked && present.get(ip.text) === name ? ip : [])),
  );
}

/** The `candidates` that are wanted and that the host does not have, neither its own nor added. */
export function missingFrom(
  { own, present }: { readonly own: ReadonlyMap<string, Ip> } & Present,
  wanted: Addresses,
  candidates: Iterable<string>,
): readonly Ip[] {
  return [...candidates].flatMap((text) => {
    const address = wanted.get(text);
    return address === undefined || own.has(text) || present.has(text) ? [] : address;
  });
}
