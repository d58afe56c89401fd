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
export type InterfaceAddress = {
  readonly ip: Ip;
  readonly prefixLength: number;
  /** The host takes it as source of its own connections: it has a preferred lifetime. */
  readonly isPreferred: boolean;
  /** Of scope global, as addresses are that nobody gave another one. */
  readonly isGlobal: boolean;
};

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
  readonly addr_info?: readonly {
    readonly local?: string;
    readonly prefixlen?: number;
    readonly scope?: string;
    readonly preferred_life_time?: number;
  }[];
}[];

/** Reads the answer of `ip -json address`. */
export function decodeInterfaces(json: string): readonly Interface[] {
  return (JSON.parse(json) as Listed).map((listed) => ({
    name: listed.ifname ?? '',
    index: listed.ifindex ?? 0,
    mac: listed.link_type === 'ether' ? listed.address : undefined,
    isUp: listed.flags?.includes('UP') ?? false,
    addresses: (listed.addr_info ?? []).flatMap((info) => {
      const ip = parseIp(info.local ?? '');
      if (ip === undefined) return [];
      return {
        ip,
        prefixLength: info.prefixlen ?? bitsOf(ip.family),
        isPreferred: (info.preferred_life_time ?? 0) > 0,
        isGlobal: info.scope === 'global',
      };
    }),
  }));
}

/**
 * The Ethernet interface on whose link the neighbours look for `ip`: the one with the longest prefix that holds it.
 * `undefined` when it is in nobody's subnet: then a router must send it here.
 */
export function linkOf(ip: Ip, interfaces: readonly Interface[]): Interface | undefined {
  return linkFinder(interfaces)(ip);
}

type LinkFinder = (ip: Ip) => Interface | undefined;

/** By the list of interfaces, which stays the same for a while. */
const finders = new WeakMap<readonly Interface[], LinkFinder>();

/** {@link linkOf} for many addresses. */
export function linkFinder(interfaces: readonly Interface[]): LinkFinder {
  const known = finders.get(interfaces);
  if (known !== undefined) return known;
  const finder = makeLinkFinder(interfaces);
  finders.set(interfaces, finder);
  return finder;
}

function makeLinkFinder(interfaces: readonly Interface[]): LinkFinder {
  const subnets = interfaces
    .filter(({ mac, isUp }) => mac !== undefined && isUp)
    .flatMap((link) =>
      link.addresses.flatMap(({ ip, prefixLength }) => {
        const subnet = prefixLength === bitsOf(ip.family) ? undefined : parseCidr(`${ip.text}/${prefixLength}`);
        return subnet === undefined ? [] : [{ link, prefixLength, subnet }];
      }),
    )
    .sort((a, b) => b.prefixLength - a.prefixLength);
  return (ip) => subnets.find(({ subnet }) => rangeContains(subnet, ip))?.link;
}

/** What the host has without us, by the address's text; loopback and link-local addresses are left out. */
export function ownOf(interfaces: readonly Interface[], record: AddressRecord): ReadonlyMap<string, Ip> {
  const all = interfaces.flatMap((link) => link.addresses.filter((address) => !isOurs(link, address, record)));
  return new Map(all.filter(({ ip }) => isRoutable(ip)).map(({ ip }) => [ip.text, ip]));
}

/** The same interfaces with only the addresses that are of another scope than global. */
export function withoutGlobal(interfaces: readonly Interface[]): readonly Interface[] {
  return interfaces.map((link) => ({ ...link, addresses: link.addresses.filter(({ isGlobal }) => !isGlobal) }));
}

/** What the host has by our doing: by record, or because it is on our interface; with the interface that has it. */
export function presentOf(interfaces: readonly Interface[], record: AddressRecord): AddressRecord {
  const present = interfaces.flatMap((link) =>
    link.addresses.filter((address) => isOurs(link, address, record)).map(({ ip }) => [ip.text, link.name] as const),
  );
  const isWhereRecorded = ([text, name]: readonly [string, string]): boolean => record.get(text) === name;
  // One that is on two interfaces, for it is being moved, is where it was recorded.
  return PersistentMap.from([...present, ...present.filter(isWhereRecorded)]);
}

/**
 * An address in the record that is elsewhere than recorded, has a wider prefix or is preferred was put there by somebody
 * else.
 */
function isOurs({ name }: Interface, address: InterfaceAddress, record: AddressRecord): boolean {
  const { ip, prefixLength, isPreferred } = address;
  if (isOurInterface(name)) return isRoutable(ip);
  return record.get(ip.text) === name && prefixLength === bitsOf(ip.family) && !isPreferred;
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
