import type { Family, Ip } from '../ip/ip.ts';
import type { ServiceKey } from '../model/names.ts';

/** A Service, and the sharing key that it has, if any. */
export type Sharer = { readonly service: ServiceKey; readonly sharingKey: string | undefined };

/** An address of a group, and how many listeners each of its Services has there. */
type SharedAddress = { readonly ip: Ip; readonly listeners: Map<ServiceKey, number> };

/**
 * Where the Services with the same sharing key are.
 *
 *   pihole-svc   192.0.2.51 → lbtest/pihole-dns-tcp, lbtest/pihole-dns-udp
 *                192.0.2.52 → lbtest/pihole-web
 */
export class SharingGroups {
  readonly #groups = new Map<string, Map<string, SharedAddress>>();

  /** The Service holds one listener of the address more, or one less. */
  count({ service, sharingKey }: Sharer, ip: Ip, change: 1 | -1): void {
    if (sharingKey === undefined) return;
    const group = this.#groups.get(sharingKey) ?? new Map<string, SharedAddress>();
    const { listeners } = group.get(ip.text) ?? { listeners: new Map<ServiceKey, number>() };
    const count = (listeners.get(service) ?? 0) + change;
    if (count > 0) listeners.set(service, count);
    else listeners.delete(service);
    if (listeners.size > 0) group.set(ip.text, { ip, listeners });
    else group.delete(ip.text);
    if (group.size > 0) this.#groups.set(sharingKey, group);
    else this.#groups.delete(sharingKey);
  }

  /** The addresses that other Services of its group hold, lowest first. */
  placesOfOthers({ service, sharingKey = '' }: Sharer, family: Family): readonly Ip[] {
    return Array.from(this.#groups.get(sharingKey)?.values() ?? [])
      .filter(({ ip, listeners }) => ip.family === family && (listeners.size > 1 || !listeners.has(service)))
      .map(({ ip }) => ip)
      .sort((a, b) => (a.value < b.value ? -1 : 1));
  }

  /** The Services with this key that hold an address; one with two addresses comes twice. */
  members(sharingKey: string): readonly ServiceKey[] {
    return Array.from(this.#groups.get(sharingKey)?.values() ?? []).flatMap(({ listeners }) => [...listeners.keys()]);
  }
}
