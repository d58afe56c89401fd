import { expect, test } from 'vitest';
import { parseIp } from '../../src/core/ip/ip.ts';
import { type HostPlan, gatewayOf, planHosts, vipRoutes } from './address-plan.ts';

const full = { nodes: 39, loadBalancers: 39, clients: 99 };
const addressesOf = (hosts: readonly HostPlan[]): string[] =>
  hosts.flatMap((host) => host.links.flatMap((link) => [link.ip4, link.ip6]));

test('the default lab has the documented addresses', () => {
  const hosts = planHosts({ nodes: 2, loadBalancers: 1, clients: 1 });
  expect(hosts.map(({ name, links: [{ ip4, ip6 }] }) => `${name} ${ip4} ${ip6}`)).toEqual([
    'router 192.0.2.1 2001:db8:0:1::1',
    'cp 192.0.2.2 2001:db8:0:1::2',
    'n1 192.0.2.11 2001:db8:0:1::11',
    'n2 192.0.2.12 2001:db8:0:1::12',
    'lb1 192.0.2.51 2001:db8:0:1::51',
    'lanclient 192.0.2.100 2001:db8:0:1::100',
    'client 198.51.100.2 2001:db8:0:2::2',
  ]);
});

test('no two interfaces of the largest lab share an address, and every address is valid', () => {
  const addresses = addressesOf(planHosts(full));
  expect(new Set(addresses).size).toBe(addresses.length);
  expect(addresses.filter((address) => parseIp(address) === undefined)).toEqual([]);
});

test('the router is the gateway of both segments', () => {
  const router = planHosts(full).find((host) => host.role === 'router');
  expect(router?.links.map((link) => [link.segment, link.ip4])).toEqual([
    ['lan', gatewayOf('lan').ip4],
    ['wan', gatewayOf('wan').ip4],
  ]);
});

test('routed VIPs go to the first load-balancer host', () => {
  const lb1 = planHosts(full).find((host) => host.name === 'lb1')?.links[0];
  expect([...vipRoutes().values()]).toEqual([lb1?.ip4, lb1?.ip6]);
});

test.each([
  { nodes: 40, loadBalancers: 1, clients: 1 },
  { nodes: 2, loadBalancers: -1, clients: 1 },
  { nodes: 2, loadBalancers: 1, clients: 0.5 },
])('a size that exceeds the ranges is refused: %o', (size) => {
  expect(() => planHosts(size)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
});
