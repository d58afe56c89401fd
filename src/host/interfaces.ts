import { bitsOf, type Family, type Ip, parseIp } from '../core/ip/ip.ts';
import { parseCidr, rangeContains } from '../core/ip/range.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { PlacementRecord } from './placement-record.ts';

/** The interfaces of furiwake: `furiwake0`, `furiwake1`, … */
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
  /** Neither temporary (RFC 8981) nor deprecated, and of scope global. */
  readonly isLasting: boolean;
};

/** A network interface of this host. */
export type NetworkInterface = {
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
    readonly preferred_life_time?: number;
    readonly scope?: string;
    readonly temporary?: boolean;
    readonly deprecated?: boolean;
  }[];
}[];

/** Reads the answer of `ip -json address`. */
export function decodeInterfaces(json: string): readonly NetworkInterface[] {
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
        isLasting: info.scope === 'global' && info.temporary !== true && info.deprecated !== true,
      };
    }),
  }));
}

type LinkFinder = (ip: Ip) => NetworkInterface | undefined;

/** By the list of interfaces, which stays the same for a while. */
const finders = new WeakMap<readonly NetworkInterface[], LinkFinder>();

/**
 * Finds the Ethernet interface on whose link the neighbours look for an address: the one with the longest prefix that holds
 * it. `undefined` when it is in no subnet of this host: then a router must send its packets here.
 */
export function linkFinder(interfaces: readonly NetworkInterface[]): LinkFinder {
  const known = finders.get(interfaces);
  if (known !== undefined) return known;
  const finder = makeLinkFinder(interfaces);
  finders.set(interfaces, finder);
  return finder;
}

function makeLinkFinder(interfaces: readonly NetworkInterface[]): LinkFinder {
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

/** What the host has without furiwake, by the address's text; without loopback and link-local addresses. */
export function ownOf(interfaces: readonly NetworkInterface[], record: PlacementRecord): ReadonlyMap<string, Ip> {
  const all = interfaces.flatMap((link) => link.addresses.filter((address) => !isOurs(link, address, record)));
  return new Map(all.filter(({ ip }) => isRoutable(ip)).map(({ ip }) => [ip.text, ip]));
}

/** What furiwake put on the host, by the record or because it is on an interface of furiwake; with that interface. */
export function presentOf(interfaces: readonly NetworkInterface[], record: PlacementRecord): PlacementRecord {
  const present = interfaces.flatMap((link) =>
    link.addresses.filter((address) => isOurs(link, address, record)).map(({ ip }) => [ip.text, link.name] as const),
  );
  const isWhereRecorded = ([text, name]: readonly [string, string]): boolean => record.get(text) === name;
  // One that is on two interfaces, for it is being moved, is where it was recorded.
  return PersistentMap.from([...present, ...present.filter(isWhereRecorded)]);
}

/** An address in the record that is elsewhere than recorded, has a wider prefix or is preferred is not furiwake's. */
function isOurs({ name }: NetworkInterface, address: InterfaceAddress, record: PlacementRecord): boolean {
  const { ip, prefixLength, isPreferred } = address;
  if (isOurInterface(name)) return isRoutable(ip);
  return record.get(ip.text) === name && prefixLength === bitsOf(ip.family) && !isPreferred;
}

const unroutable: Readonly<Record<Family, readonly string[]>> = {
  4: ['127.0.0.0/8', '169.254.0.0/16'],
  6: ['::1/128', 'fe80::/10'],
};

/** Loopback and link-local addresses cannot be reached from elsewhere. */
function isRoutable(ip: Ip): boolean {
  return !unroutable[ip.family].some((cidr) => {
    const range = parseCidr(cidr);
    return range !== undefined && rangeContains(range, ip);
  });
}
