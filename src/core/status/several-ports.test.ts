import { expect, test } from 'vitest';
import { planInput, planOnce } from '../../../test/make/address-plan.ts';
import { makeService, tcp, udp } from '../../../test/make/service.ts';
import { statusOf } from '../../../test/make/status.ts';
import { addressesOf } from '../../../test/make/table.ts';
import type { ServicePort, ServiceSpec } from '../model/service.ts';
import { listenerKey } from '../traffic/table.ts';

const messages = (spec: Partial<ServiceSpec>): Readonly<Record<string, string>> => {
  const { conditions = [] } = statusOf([makeService('a', { dataplane: 'haproxy', ...spec })]) ?? {};
  return Object.fromEntries(conditions.map(({ type, message }) => [type.replace(/^.*\//, ''), message]));
};

test.each<[string, readonly ServicePort[], readonly string[]]>([
  ['beside one that is served', [tcp(80), udp(53, 0), udp(54, 0)], ['LoadBalancerPortsError', 'Serving']],
  ['and no other one', [udp(53, 0), udp(54, 0)], ['LoadBalancerPortsError', 'AddressAssigned', 'Serving']],
])('each condition about ports that are not served names all of them, %s', (_, ports, types) => {
  const shown = messages({ ports });
  for (const type of types)
    for (const port of [53, 54]) expect(shown[type]?.split(`UDP port ${port} has no nodePort`)).toHaveLength(2);
});

test('of many ports that are not served the message is cut, also for the log and the event', () => {
  const ports = Array.from({ length: 200 }, (_, index) => udp(5000 + index, 0));
  const service = makeService('a', { dataplane: 'haproxy', ports });
  const [assignment] = planOnce(planInput([service], ['192.0.2.8'])).assignments.values();
  const texts = [assignment?.verdict.message ?? '', ...Object.values(messages({ ports }))];
  for (const text of texts) expect([text.length <= 1024, text.length > 900]).toEqual([true, true]);
});

test('several invalid source ranges are named together, five at most', () => {
  const words = 'in loadBalancerSourceRanges: they match no client';
  const found = (...sourceRanges: readonly string[]): string | undefined =>
    messages({ sourceRanges: ['192.0.2.0/24', ...sourceRanges] })['Serving'];
  expect(found('x', 'y')).toBe(`invalid CIDRs "x", "y" ${words}`);
  expect(found('a', 'b', 'c', 'd', 'e', 'f', 'g')).toBe(`invalid CIDRs "a", "b", "c", "d", "e" and 2 more ${words}`);
  expect(found('x')).toBe('invalid CIDR "x" in loadBalancerSourceRanges: it matches no client');
});

test('several ports without ready endpoints are named together', () => {
  const [address] = addressesOf('192.0.2.8').values();
  const gaps = [80, 81].map((port) => listenerKey(address!, port, 'TCP'));
  const status = statusOf([makeService('a', { ports: [tcp(80), tcp(81), tcp(443)] })], { gaps });
  expect(status?.conditions.at(-1)?.message).toBe('ports 80, 81 of 192.0.2.8 have no ready endpoints');
});
