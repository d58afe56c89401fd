import { bitsOf, type Family, type Ip, parseIp } from '../../core/ip/ip.ts';
import { parseCidr, rangeContains } from '../../core/ip/range.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { AddressRecord } from './record.ts';

/** Where our IPv4 addresses are, and the IPv6 ones that no interface's subnet holds: `furiwake0`, `furiwake1`, … */
export function ourInterface(number: number): string {
  return `furiwake${number}`;
}

export function isOurInterface(name: string): boolean {
  return /^furiwake\d+$/.test(name);
}

/** An address as an interface has it. */
export type InterfaceAddress = { readonly ip: Ip; readonly prefixLength: number };

/** A network interface of this host. */
export type Interface = {
  readonly name: string;
  /** The kernel's number for it. */
  readonly index: number;
  /** Its Ethernet address as `02:00:…`; `undefined` for what is no Ethernet. */
  readonly mac: string | undefined;
  readonly isUp: boolean;
  readonly addresses: readonly InterfaceAddress[];
};

/** `ip -json address`, as far as we read it. */
type Listed = readonly {
  readonly ifname?: string;
  readonly ifindex?: number;
  readonly link_type?: string;
  readonly address?: string;
  readonly flags?: readonly string[];
  readonly addr_info?: readonly { readonly local?: string; readonly prefixlen?: number }[];
}[];

/** Reads the answer of `ip -json address`. */
export function decodeInterfaces(json: string): readonly Interface[] {
  return (JSON.parse(json) as Listed).map((listed) => ({
    name: listed.ifname ?? '',
    index: listed.ifindex ?? 0,
    mac: listed.link_type === 'ether' ? listed.address : undefined,
    isUp: listed.flags?.includes('UP') ?? false,
    addresses: (listed.addr_info ?? []).flatMap(({ local, prefixlen }) => {
      const ip = parseIp(local ?? '');
      return ip === undefined ? [] : [{ ip, prefixLength: prefixlen ?? bitsOf(ip.family) }];
    }),
  }));
}

/**
 * The Ethernet interface on whose link the neighbours look for `ip`: the one with the longest prefix that holds it.
 * `undefined` when it is in nobody's subnet: then a router must send it here.
 */
export function linkOf(ip: Ip, interfaces: readonly Interface[]): Interface | undefined {
  let best: { readonly link: Interface; readonly prefixLength: number } | undefined;
  for (const link of interfaces) {
    if (link.mac === undefined || !link.isUp) continue;
    for (const { ip: own, prefixLength } of link.addresses) {
      if (prefixLength === bitsOf(own.family) || prefixLength <= (best?.prefixLength ?? -1)) continue;
      const subnet = parseCidr(`${own.text}/${prefixLength}`);
      if (subnet !== undefined && rangeContains(subnet, ip)) best = { link, prefixLength };
    }
  }
  return best?.link;
}

/** What the host has without us, by the address's text; loopback and link-local addresses are left out. */
export function ownOf(interfaces: readonly Interface[], record: AddressRecord): ReadonlyMap<string, Ip> {
  const all = interfaces.flatMap((link) => link.addresses.filter((address) => !isOurs(link, address, record)));
  return new Map(all.filter(({ ip }) => isRoutable(ip)).map(({ ip }) => [ip.text, ip]));
}

/** What the host has by our doing: by record, or because it is on our interface; with the interface that has it. */
export function presentOf(interfaces: readonly Interface[], record: AddressRecord): AddressRecord {
  const present = interfaces.flatMap((link) =>
    link.addresses.filter((address) => isOurs(link, address, record)).map(({ ip }) => [ip.text, link.name] as const),
  );
  return PersistentMap.from(present);
}

/** An address in the record that is elsewhere than recorded, or with a wider prefix, was put there by somebody else. */
function isOurs({ name }: Interface, { ip, prefixLength }: InterfaceAddress, record: AddressRecord): boolean {
  if (isOurInterface(name)) return isRoutable(ip);
  return record.get(ip.text) === name && prefixLength === bitsOf(ip.family);
}

const unroutable: Readonly<Record<Family, readonly string[]>> = {
  4: ['127.0.0.0/8', '169.254.0.0/16'],
  6: ['::1/128', 'fe80::/10'],
};

/** Loopback and link-local addresses are nobody's to reach from elsewhere. */
function isRoutable(ip: Ip): boolean {
  return !unroutable[ip.family].some((cidr) => {
    const range = parseCidr(cidr);
    return range !== undefined && rangeContains(range, ip);
  });
}
