import { type Ip, parseIp } from '../../core/ip/ip.ts';
import { type Interface, isOurInterface, linkFinder, ourInterface } from './inventory.ts';
import type { Place } from './kernel.ts';
import type { AddressRecord } from './record.ts';

/** The kernel looks at all addresses of an interface for each one that comes: 10,000 on one take 2.6 s, on twenty 0.2 s. */
const mostPerInterface = 500;

/** Which interfaces the host has, and which of our addresses are on them. */
export type Occupancy = {
  readonly interfaces: readonly Interface[];
  readonly ours: AddressRecord;
  /** How many addresses of `ours` each interface has; none for those without. */
  readonly counts: ReadonlyMap<string, number>;
};

/** On which interface each address shall be: where it was recorded to be, else where it belongs or there is room. */
export function placesFor(
  addresses: readonly Ip[],
  { interfaces, counts, ours }: Occupancy,
): ReadonlyMap<string, string> {
  const filled = new Map(counts);
  let number = 0;
  const withRoom = (): string => {
    while ((filled.get(ourInterface(number)) ?? 0) >= mostPerInterface) number++;
    return ourInterface(number);
  };
  const places = new Map<string, string>();
  const linkOf = linkFinder(interfaces);
  for (const address of addresses) {
    const link = address.family === 6 ? linkOf(address)?.name : undefined;
    const recorded = ours.get(address.text);
    const place = link ?? (recorded !== undefined && isOurInterface(recorded) ? recorded : withRoom());
    places.set(address.text, place);
    filled.set(place, (filled.get(place) ?? 0) + 1);
  }
  return places;
}

/** The IPv6 addresses of ours that are not on the interface where the neighbours look for them. */
export function strayedFrom({ interfaces, ours }: Occupancy): readonly Ip[] {
  const linkOf = linkFinder(interfaces);
  return [...ours].flatMap(([text, place]) => {
    const address = text.includes(':') ? parseIp(text) : undefined;
    const link = address && linkOf(address)?.name;
    return address === undefined || link === undefined || link === place ? [] : address;
  });
}

export function countsOf(record: AddressRecord): ReadonlyMap<string, number> {
  return changedCounts(new Map(), record.values(), 1);
}

/** None for an interface without addresses. */
export function changedCounts(
  before: ReadonlyMap<string, number>,
  names: Iterable<string>,
  by: 1 | -1,
): ReadonlyMap<string, number> {
  const counts = new Map(before);
  for (const name of names) {
    const count = (counts.get(name) ?? 0) + by;
    if (count > 0) counts.set(name, count);
    else counts.delete(name);
  }
  return counts;
}

/** The addresses, each with the interface that it has there. */
export function placesIn(places: ReadonlyMap<string, string>, addresses: readonly Ip[]): readonly Place[] {
  return addresses.map((address) => ({ address, on: places.get(address.text) ?? ourInterface(0) }));
}

/** Where those of the addresses that are recorded already shall be. */
export function recordedPlaces({ ours }: Occupancy, addresses: readonly Ip[]): readonly string[] {
  return addresses.flatMap(({ text }) => ours.get(text) ?? []);
}
