import { bitsOf, families, type Family, type Ip, ipOf, parseIp } from '../core/ip/ip.ts';
import { type IpRange, mergeRanges, parseCidr, parseRange, subtractRanges } from '../core/ip/range.ts';
import { type Exec, jsonAnswer } from '../ports/exec.ts';
import type { NetworkInterface } from './interfaces.ts';

/** A route of the main table, as `ip -json route` lists it: with one interface, or with several next hops. */
type Route = {
  /** Of a route that leads nowhere: `blackhole`, `unreachable`, `prohibit`, `throw`. */
  readonly type?: string;
  readonly dst?: string;
  readonly dev?: string;
  readonly gateway?: string;
  readonly via?: { readonly host?: string };
  readonly metric?: number;
  readonly nexthops?: readonly Pick<Route, 'dev' | 'gateway' | 'via'>[];
};

export type RoutingTables = { readonly [F in Family]: readonly Route[] };

/** Throws `ExecError` if `ip` fails; a family that the kernel does not support has no routes. */
export async function readRoutes(exec: Exec, signal: AbortSignal): Promise<RoutingTables> {
  const read = async (family: Family): Promise<readonly Route[]> => {
    const { stdout } = await exec.run('ip', [`-${family}`, '-json', 'route', 'show', 'table', 'main'], { signal });
    return jsonAnswer('ip', stdout.trim() || '[]') as readonly Route[]; // no output if there is no route
  };
  return { 4: await read(4), 6: await read(6) };
}

/**
 * This host's own address on the interface of the default route, at most one per family. Of several default routes the
 * one with the lowest metric counts; temporary (RFC 8981) and deprecated addresses and those of furiwake (`placed`: text →
 * interface) do not. Of several addresses that of `before` stays, or else the oldest counts: one that is added, of a second prefix for
 * example, moves no Service.
 */
export function primaryAddresses(
  routes: RoutingTables,
  interfaces: readonly NetworkInterface[],
  placed: ReadonlyMap<string, string>,
  before: readonly Ip[],
): readonly Ip[] {
  return families.flatMap((family) => {
    const defaults = routes[family].filter(({ dst }) => dst === 'default');
    const [first] = defaults.toSorted((a, b) => (a.metric ?? 0) - (b.metric ?? 0));
    const device = first?.dev ?? first?.nexthops?.[0]?.dev;
    const link = interfaces.find(({ name }) => name === device);
    const usable = (link?.addresses ?? []).flatMap(({ ip, isLasting }) =>
      ip.family === family && isLasting && placed.get(ip.text) !== device ? [ip] : [],
    );
    const former = usable.find(({ text }) => before.some((ip) => ip.text === text));
    // The kernel lists addresses of IPv6 newest first, those of IPv4 oldest first.
    return former ?? usable.at(family === 6 ? -1 : 0) ?? [];
  });
}

/**
 * Addresses that this host needs to work, each with its role; no Service gets one of them. Gateways and next hops, DNS
 * servers (`resolvConf`: lines as in /etc/resolv.conf), network, broadcast and subnet-router anycast addresses (RFC
 * 4291 section 2.6.1) of the LANs that it is on.
 */
export function neededAddresses(
  routes: RoutingTables,
  interfaces: readonly NetworkInterface[],
  resolvConf: string,
): ReadonlyMap<string, string> {
  const needs = new Map<string, string>();
  const add = (text: string | undefined, what: string): void => {
    const ip = text === undefined ? undefined : parseIp(text);
    if (ip !== undefined && !needs.has(ip.text)) needs.set(ip.text, what);
  };
  for (const route of [...routes[4], ...routes[6]])
    for (const hop of [route, ...(route.nexthops ?? [])])
      for (const text of [hop.gateway, hop.via?.host])
        add(text, route.dst === 'default' ? 'default gateway of this host' : 'gateway of this host');
  for (const line of resolvConf.split('\n'))
    add(/^\s*nameserver\s+([^\s%]+)/.exec(line)?.[1], 'DNS server of this host');
  for (const { addresses } of interfaces)
    for (const { ip, prefixLength } of addresses)
      for (const [reserved, what] of reservedIn(ip, prefixLength)) add(reserved.text, what);
  return needs;
}

/**
 * Networks to which this host has a route other than a default route; sorted and merged. What a more specific route leads
 * nowhere (`blackhole`, `unreachable` …) is not in them.
 */
export function routedRanges(routes: RoutingTables): readonly IpRange[] {
  const networks = [...routes[4], ...routes[6]].flatMap(({ dst, type = 'unicast' }) => {
    const range = dst === undefined || dst === 'default' ? undefined : parseRange(dst);
    return range === undefined ? [] : [{ range, leads: type === 'unicast' }];
  });
  // The less specific ones first: a more specific one decides.
  networks.sort((a, b) => (sizeOf(a.range) < sizeOf(b.range) ? 1 : -1));
  let routed: readonly IpRange[] = [];
  for (const { range, leads } of networks)
    routed = leads ? mergeRanges([...routed, range]) : subtractRanges(routed, [range]);
  return routed;
}

function sizeOf({ first, last }: IpRange): bigint {
  return last - first;
}

/** The addresses of the subnet that no host may have; none in a subnet of one or two (RFC 3021, RFC 6164). */
function reservedIn(ip: Ip, prefixLength: number): readonly (readonly [Ip, string])[] {
  const subnet = bitsOf(ip.family) - prefixLength < 2 ? undefined : parseCidr(`${ip.text}/${prefixLength}`);
  if (subnet === undefined) return [];
  if (ip.family === 6) return [[ipOf(6, subnet.first), 'subnet-router anycast address of a LAN of this host']];
  return [
    [ipOf(4, subnet.first), 'network address of a LAN of this host'],
    [ipOf(4, subnet.last), 'broadcast address of a LAN of this host'],
  ];
}
