import { bitsOf, type Family, type Ip, parseIp } from '../core/ip/ip.ts';
import { type IpRange, parseCidr, rangeContains } from '../core/ip/range.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { type Exec, jsonAnswer } from '../ports/exec.ts';
import type { Link } from '../ports/network.ts';
import type { PlacementRecord } from '../ports/placement.ts';

/** The interfaces of furiwake: `furiwake0`, `furiwake1`, … */
export function ourInterface(number: number): string {
  return `furiwake${number}`;
}

export function isOurInterface(name: string): boolean {
  return /^furiwake\d+$/.test(name);
}

/**
 * The metric (IFA_RT_PRIORITY, Linux 4.18) of every IPv6 address that furiwake adds: the kernel keeps it with the address, and
 * nothing else sets it. The only effect is the metric of the route to the single address, which the table `local` precedes.
 * IFA_PROTO would say the same, but iproute2 before 6.2 can neither set nor show it.
 */
export const markMetric = 8201;

/** An address of an interface. */
export type InterfaceAddress = {
  readonly ip: Ip;
  readonly prefixLength: number;
  /** It has a preferred lifetime: the host uses it as the source of its own connections. */
  readonly isPreferred: boolean;
  /** Neither temporary (RFC 8981) nor deprecated, and of scope global. */
  readonly isLasting: boolean;
  /** The kernel removes it when its lifetime ends. */
  readonly expires: boolean;
  /** It has the metric of furiwake's addresses. */
  readonly isMarked: boolean;
};

/** A network interface of this host. */
export type NetworkInterface = {
  readonly name: string;
  /** The kernel's number for it. */
  readonly index: number;
  /** Its Ethernet address as `02:00:…`; `undefined` if it is not an Ethernet interface. */
  readonly mac: string | undefined;
  /** In bytes. */
  readonly mtu: number;
  /** It is set up (IFF_UP), with or without a carrier. */
  readonly isUp: boolean;
  /** It is up and has a carrier. */
  readonly isRunning: boolean;
  readonly addresses: readonly InterfaceAddress[];
};

/** An interface in the answer of `ip -json address`: the fields that furiwake reads. */
type ListedInterface = {
  readonly ifname?: string;
  readonly ifindex?: number;
  readonly link_type?: string;
  readonly address?: string;
  readonly mtu?: number;
  readonly flags?: readonly string[];
  readonly addr_info?: readonly {
    readonly local?: string;
    readonly prefixlen?: number;
    readonly valid_life_time?: number;
    readonly preferred_life_time?: number;
    readonly scope?: string;
    readonly temporary?: boolean;
    readonly deprecated?: boolean;
    readonly metric?: number;
  }[];
};

/** `valid_lft forever`. */
const forever = 2 ** 32 - 1;

/** The interfaces of this host and their addresses. Throws `ExecError` if `ip` fails. */
export async function readInterfaces(exec: Exec, signal: AbortSignal): Promise<readonly NetworkInterface[]> {
  return decodeInterfaces((await exec.run('ip', ['-json', 'address', 'show'], { signal })).stdout);
}

/** Reads the answer of `ip -json address`. */
export function decodeInterfaces(json: string): readonly NetworkInterface[] {
  return (jsonAnswer('ip', json) as readonly ListedInterface[]).map((listed) => ({
    name: listed.ifname ?? '',
    index: listed.ifindex ?? 0,
    mac: listed.link_type === 'ether' ? listed.address : undefined,
    mtu: listed.mtu ?? 0,
    isUp: listed.flags?.includes('UP') ?? false,
    isRunning:
      ['UP', 'LOWER_UP'].every((flag) => listed.flags?.includes(flag)) && !listed.flags?.includes('NO-CARRIER'),
    addresses: (listed.addr_info ?? []).flatMap((info) => {
      const ip = parseIp(info.local ?? '');
      if (ip === undefined) return [];
      return {
        ip,
        prefixLength: info.prefixlen ?? bitsOf(ip.family),
        isPreferred: (info.preferred_life_time ?? 0) > 0,
        isLasting: info.scope === 'global' && info.temporary !== true && info.deprecated !== true,
        expires: (info.valid_life_time ?? forever) < forever,
        isMarked: info.metric === markMetric,
      };
    }),
  }));
}

type LinkFinder = (ip: Ip) => NetworkInterface | undefined;

/** Finders by their list of interfaces: the same list is searched many times. */
const finders = new WeakMap<readonly NetworkInterface[], LinkFinder>();

/**
 * Finds the Ethernet interface on whose link neighbours resolve an address: the one with the longest prefix that
 * contains it. `undefined` if it is in no subnet of this host; then a router must send its packets here.
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

export function asLink(found: NetworkInterface | undefined): Link | undefined {
  if (found?.mac === undefined) return undefined;
  const { name, index, mac, mtu } = found;
  return { name, index, mac, mtu };
}

/** The addresses of a host. */
export type SortedAddresses = {
  /** The host's own, by text; without loopback and link-local addresses. */
  readonly own: ReadonlyMap<string, Ip>;
  /** Addresses that furiwake added, with the interface that has each. */
  readonly present: PlacementRecord;
};

/**
 * Separates the host's own addresses from those of furiwake, which are marked, on an interface of furiwake, or in the record: a
 * release up to 0.1.0 did not mark them.
 */
export function sortAddresses(interfaces: readonly NetworkInterface[], record: PlacementRecord): SortedAddresses {
  const names = new Set(interfaces.map(({ name }) => name));
  const own = new Map<string, Ip>();
  const present: (readonly [string, string])[] = [];
  for (const { name, addresses } of interfaces)
    for (const address of addresses) {
      if (!isRoutable(address.ip)) continue;
      if (isPlaced(name, address, record, names)) present.push([address.ip.text, name]);
      else own.set(address.ip.text, address.ip);
    }
  // An address that is being moved is on two interfaces: the record says which one counts.
  const whereRecorded = present.filter(([text, name]) => record.get(text) === name);
  return { own, present: PersistentMap.from([...present, ...whereRecorded]) };
}

/**
 * An address with a wider prefix, or one that is preferred, is the host's own, marked or not: another program changed it. A
 * recorded one without the mark is the host's own on another interface, unless the recorded interface no longer exists: that one
 * was renamed and kept the address.
 */
function isPlaced(
  name: string,
  { ip, prefixLength, isPreferred, isMarked }: InterfaceAddress,
  record: PlacementRecord,
  names: ReadonlySet<string>,
): boolean {
  if (isOurInterface(name)) return true;
  if (prefixLength !== bitsOf(ip.family) || isPreferred) return false;
  if (isMarked) return true;
  const recorded = record.get(ip.text);
  if (recorded === undefined) return false;
  return recorded === name || (!isOurInterface(recorded) && !names.has(recorded));
}

const rangesOf = (...cidrs: readonly string[]): readonly IpRange[] => cidrs.flatMap((cidr) => parseCidr(cidr) ?? []);

const unroutable: Readonly<Record<Family, readonly IpRange[]>> = {
  4: rangesOf('127.0.0.0/8', '169.254.0.0/16'),
  6: rangesOf('::1/128', 'fe80::/10'),
};

/** Whether other hosts can reach it: loopback and link-local addresses are not reachable. */
export function isRoutable(ip: Ip): boolean {
  return !unroutable[ip.family].some((range) => rangeContains(range, ip));
}
