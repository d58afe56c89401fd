import type { Ip } from '../core/ip/ip.ts';
import { isOurInterface, linkFinder, type NetworkInterface, ourInterface } from './interfaces.ts';
import type { PlacementRecord } from './placement-record.ts';

/** The kernel looks at all addresses of an interface for each one that is added. */
const mostPerInterface = 500;

/** The interface for each address: where it was recorded to be, else where it belongs or there is room. */
export function placesFor(
  addresses: readonly Ip[],
  { interfaces, record }: { readonly interfaces: readonly NetworkInterface[]; readonly record: PlacementRecord },
): ReadonlyMap<string, string> {
  const counts = new Map<string, number>();
  for (const name of record.values()) counts.set(name, (counts.get(name) ?? 0) + 1);
  let number = 0;
  const withRoom = (): string => {
    while ((counts.get(ourInterface(number)) ?? 0) >= mostPerInterface) number++;
    return ourInterface(number);
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
