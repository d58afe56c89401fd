import { LabError } from '../errors.ts';

/** `lan` is the segment of the cluster and its load-balancer hosts, `wan` the one behind the router. */
export type Segment = 'lan' | 'wan';
export type Role = 'router' | 'control-plane' | 'node' | 'load-balancer' | 'client';

export type Link = {
  readonly segment: Segment;
  readonly device: string;
  readonly ip4: string;
  readonly ip6: string;
};

/** A machine of the lab. The first link has its main address. */
export type HostPlan = { readonly name: string; readonly role: Role; readonly links: readonly [Link, ...Link[]] };

export type Size = { readonly nodes: number; readonly loadBalancers: number; readonly clients: number };

/** Ranges that the router sends to `lb1`: addresses that are reachable without ARP (RFC 5737, RFC 3849). */
const vipRanges: readonly [string, string] = ['203.0.113.0/24', '2001:db8:0:3::/64'];

/** Ranges of the cluster, IPv4 first. */
export const podRanges: readonly [string, string] = ['10.244.0.0/16', 'fd00:10:244::/56'];
export const serviceRanges: readonly [string, string] = ['10.96.0.0/16', 'fd00:10:96::/112'];
/** The first address of the Service range: the API server's, inside the cluster. */
export const kubernetesServiceIp = '10.96.0.1';
export const dnsServiceIp = '10.96.0.10';

const lbOctet = 50;
const most = { nodes: 39, loadBalancers: 39, clients: 99 } as const;

/**
 * The machines of a lab and their addresses; always the same for the same size. IPv6 addresses end in the digits of
 * the IPv4 ones.
 *
 * @throws LabError `BAD_OPTION` for a size that exceeds the ranges.
 */
export function planHosts(size: Size): readonly HostPlan[] {
  for (const [what, limit] of Object.entries(most)) {
    const count = size[what as keyof Size];
    if (!Number.isInteger(count) || count < 0 || count > limit)
      throw new LabError('BAD_OPTION', `${what}: ${count} is not a whole number from 0 to ${limit}`);
  }
  const host = (name: string, role: Role, link: Link): HostPlan => ({ name, role, links: [link] });
  return [
    { name: 'router', role: 'router', links: [lan(1), { ...wan(1), device: 'eth1' }] },
    host('cp', 'control-plane', lan(2)),
    ...numbered(size.nodes, (i) => host(`n${i}`, 'node', lan(10 + i))),
    ...numbered(size.loadBalancers, (i) => host(`lb${i}`, 'load-balancer', lan(lbOctet + i))),
    host('lanclient', 'client', lan(100)),
    ...numbered(size.clients, (i) => host(i === 1 ? 'client' : `client${i}`, 'client', wan(1 + i))),
  ];
}

/** The gateway of a host on `segment`: the router. */
export function gatewayOf(segment: Segment): Link {
  return segment === 'lan' ? lan(1) : wan(1);
}

/** The router's routes to the {@link vipRanges}: range → next hop. */
export function vipRoutes(): ReadonlyMap<string, string> {
  const { ip4, ip6 } = lan(lbOctet + 1);
  return new Map([
    [vipRanges[0], ip4],
    [vipRanges[1], ip6],
  ]);
}

function lan(octet: number): Link {
  return { segment: 'lan', device: 'eth0', ip4: `192.0.2.${octet}`, ip6: `2001:db8:0:1::${octet}` };
}

function wan(octet: number): Link {
  return { segment: 'wan', device: 'eth0', ip4: `198.51.100.${octet}`, ip6: `2001:db8:0:2::${octet}` };
}

function numbered<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index + 1));
}
