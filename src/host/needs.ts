import { bitsOf, type Ip, ipOf, parseIp } from '../core/ip/ip.ts';
import { parseCidr } from '../core/ip/range.ts';
import type { Exec } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';
import type { NetworkInterface } from './interfaces.ts';
import { ask, defaultRoutes, type Route } from './primary.ts';

/**
 * Addresses that this host needs to work, each with what it is: they are never handed out to a Service. Gateways and next
 * hops of its routes, its DNS servers, network and broadcast addresses and subnet-router anycast addresses (RFC 4291
 * section 2.6.1) of the LANs that it is on. Throws `ExecError` when `ip` fails.
 */
export async function hostNeeds(
  { exec, files }: { readonly exec: Exec; readonly files: Files },
  interfaces: readonly NetworkInterface[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const needs = new Map<string, string>();
  const add = (text: string | undefined, what: string): void => {
    const ip = text === undefined ? undefined : parseIp(text);
    if (ip !== undefined && !needs.has(ip.text)) needs.set(ip.text, what);
  };
  for (const family of [4, 6] as const) {
    for (const route of await defaultRoutes(exec, family, signal))
      for (const hop of hopsOf(route)) add(hop, 'default gateway of this host');
    for (const route of await ask<Route>(exec, [`-${family}`, 'route', 'show', 'table', 'main'], signal))
      for (const hop of hopsOf(route)) add(hop, 'gateway of this host');
  }
  for (const line of ((await files.read('/etc/resolv.conf').catch(() => undefined)) ?? '').split('\n'))
    add(/^\s*nameserver\s+([^\s%]+)/.exec(line)?.[1], 'DNS server of this host');
  for (const { addresses } of interfaces)
    for (const { ip, prefixLength } of addresses)
      for (const [reserved, what] of reservedIn(ip, prefixLength)) add(reserved.text, what);
  return needs;
}

function hopsOf({ gateway, via, nexthops = [] }: Route): readonly (string | undefined)[] {
  return [gateway, via?.host, ...nexthops.flatMap((hop) => [hop.gateway, hop.via?.host])];
}

/** What no host of the subnet may have; RFC 3021 links (/31) and single addresses have no such address. */
function reservedIn(ip: Ip, prefixLength: number): readonly (readonly [Ip, string])[] {
  const subnet = bitsOf(ip.family) - prefixLength < 2 ? undefined : parseCidr(`${ip.text}/${prefixLength}`);
  if (subnet === undefined) return [];
  if (ip.family === 6) return [[ipOf(6, subnet.first), 'subnet-router anycast address of a LAN of this host']];
  return [
    [ipOf(4, subnet.first), 'network address of a LAN of this host'],
    [ipOf(4, subnet.last), 'broadcast address of a LAN of this host'],
  ];
}
