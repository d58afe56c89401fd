import { expect, test } from 'vitest';
import { addressesOf, planInput, planOnce } from '../../../test/make/address-plan.ts';
import { ip, makeService, makeSite, ranges, tcp, udp } from '../../../test/make/service.ts';
import type { ServiceKey } from '../model/names.ts';
import type { Service, ServiceSpec } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { AddressRecord } from './assignment.ts';
import { type AddressPlan, makeAddressPlanner } from './plan.ts';

/* Services with a sharing key, of which none, or not all, request an address. */

const pool = ['192.0.2.8-192.0.2.15'];
const service = (name: string, createdAtMs: number, spec: Partial<ServiceSpec> = {}): Service =>
  makeService(name, { sharingKey: 'k', ...spec }, { createdAtMs });
const dnsTcp = service('dns-tcp', 1, { ports: [tcp(53), tcp(853)], dataplane: 'direct' });
const dnsUdp = service('dns-udp', 2, { ports: [udp(53), udp(784)], dataplane: 'direct' });

function messageOf(plan: AddressPlan, name: string): string | undefined {
  return plan.assignments.get(`default/${name}` as ServiceKey)?.verdict.message;
}

test('Services with the same sharing key share an address that none of them requests', () => {
  const plan = planOnce(planInput([dnsTcp, dnsUdp, service('other', 3, { sharingKey: 'l' })], pool));
  expect(addressesOf(plan)).toEqual({ 'dns-tcp': '192.0.2.8', 'dns-udp': '192.0.2.8', other: '192.0.2.9' });
  expect(messageOf(plan, 'dns-udp')).toBe('assigned 192.0.2.8');
});

test('one that arrives later shares the address of the first, although a lower one is free', () => {
  const { records } = planOnce(planInput([dnsTcp], ['192.0.2.12']));
  expect(addressesOf(planOnce(planInput([dnsTcp, dnsUdp], pool, { records })))).toEqual({
    'dns-tcp': '192.0.2.12',
    'dns-udp': '192.0.2.12',
  });
});

test('an older one shares the address that a younger one requests', () => {
  const asks = service('asks', 9, { loadBalancerIp: '192.0.2.14' });
  expect(addressesOf(planOnce(planInput([dnsTcp, dnsUdp, asks], pool)))).toEqual({
    'dns-tcp': '192.0.2.14',
    'dns-udp': '192.0.2.14',
    asks: '192.0.2.14',
  });
});

test('an address on request is shared as well', () => {
  const site = makeSite(pool);
  const onRequest = ranges('192.0.2.20').map((range) => ({ ...range, isOnRequest: true as const }));
  const asks = service('asks', 9, { loadBalancerIp: '192.0.2.20' });
  const input = planInput([dnsTcp, asks], [], { site: { ...site, ranges: [...site.ranges, ...onRequest] } });
  expect(addressesOf(planOnce(input))).toEqual({ 'dns-tcp': '192.0.2.20', asks: '192.0.2.20' });
});

test('one that was led to an address on request keeps it when the one that requested it moves away', () => {
  const site = makeSite(pool);
  const onRequest = ranges('192.0.2.20-192.0.2.21').map((range) => ({ ...range, isOnRequest: true as const }));
  const rest = { site: { ...site, ranges: [...site.ranges, ...onRequest] } };
  const asks = (loadBalancerIp: string): Service => service('asks', 9, { loadBalancerIp });
  const { records } = planOnce(planInput([dnsTcp, asks('192.0.2.20')], [], rest));
  const plan = planOnce(planInput([dnsTcp, asks('192.0.2.21')], [], { ...rest, records }));
  expect(addressesOf(plan)).toEqual({ 'dns-tcp': '192.0.2.20', asks: '192.0.2.21' });
  expect(messageOf(plan, 'dns-tcp')).toBe(
    'assigned 192.0.2.20; not shared with the other Services of its sharing key: request 192.0.2.21 to move there',
  );
  const alone = planOnce(planInput([dnsTcp], [], { ...rest, records }));
  expect(addressesOf(alone)).toEqual({ 'dns-tcp': '192.0.2.20' });
});

test('a new one finds its group where an address is left in the same plan', () => {
  // Both have 192.0.2.8 on record, and neither its port. The first to claim the port leaves it.
  const fresh = service('fresh', 0, { ports: [tcp(22)] });
  const moving = makeService('moving', { loadBalancerIp: '192.0.2.9' }, { createdAtMs: 1 });
  const stays = service('stays', 2, { loadBalancerIp: '192.0.2.8' });
  const records = PersistentMap.from(
    [moving, stays].map(({ key, uid }) => [
      uid,
      { uid, service: key, addresses: [ip('192.0.2.8')], listeners: [] } satisfies AddressRecord,
    ]),
  );
  expect(addressesOf(planOnce(planInput([moving, fresh, stays], pool, { records })))).toEqual({
    moving: '192.0.2.9',
    fresh: '192.0.2.8',
    stays: '192.0.2.8',
  });
});

test('each family is shared by itself', () => {
  const both = service('both', 2, { ports: [tcp(80)], ipFamilies: [6, 4] });
  expect(addressesOf(planOnce(planInput([dnsTcp, both], [...pool, '2001:db8::8'])))).toEqual({
    'dns-tcp': '192.0.2.8',
    both: '2001:db8::8 192.0.2.8',
  });
});

test('where a port clashes, a Service gets an address of its own and the condition says why', () => {
  const second = service('second', 3, { ports: [tcp(53)] });
  const services = [dnsTcp, dnsUdp, second];
  const planner = makeAddressPlanner();
  const input = planInput(services, pool);
  const plan = planner(input);
  expect(addressesOf(plan)).toMatchObject({ 'dns-udp': '192.0.2.8', second: '192.0.2.9' });
  expect(messageOf(plan, 'second')).toBe(
    'assigned 192.0.2.9; not shared with the other Services of its sharing key: port 53 of 192.0.2.8 belongs to Service default/dns-tcp; use another port or address',
  );
  expect(messageOf(plan, 'dns-udp')).toBe('assigned 192.0.2.8');
  // Without the port in the way it keeps its address.
  const fewer = planner({ ...input, records: plan.records, services: input.services.with([[dnsTcp.key, undefined]]) });
  expect(addressesOf(fewer)).toEqual({ 'dns-udp': '192.0.2.8', second: '192.0.2.9' });
  expect(messageOf(fewer, 'second')).toBe(
    'assigned 192.0.2.9; not shared with the other Services of its sharing key: request 192.0.2.8 to move there',
  );
});

test('a Service that has an address keeps it when it gets the key', () => {
  const before = [dnsTcp, { ...dnsUdp, spec: { ...dnsUdp.spec, sharingKey: undefined } }];
  const { records } = planOnce(planInput(before, pool));
  expect(addressesOf(planOnce(planInput([dnsTcp, dnsUdp], pool, { records })))).toEqual({
    'dns-tcp': '192.0.2.8',
    'dns-udp': '192.0.2.9',
  });
});

test('250 ports, each as TCP and UDP, are served beside 250 others of the same key', () => {
  const portsFrom = (first: number): ServiceSpec['ports'] =>
    Array.from({ length: 125 }, (_, index) => [tcp(first + index), udp(first + index)]).flat();
  const many = [1_000, 2_000].map((first, age) =>
    service(`from-${first}`, age, { ports: portsFrom(first), dataplane: 'direct' }),
  );
  const { assignments } = planOnce(planInput(many, pool));
  for (const { key, spec } of many)
    expect(assignments.get(key)?.addresses).toMatchObject([
      { ip: { text: '192.0.2.8' }, served: spec.ports, unserved: [] },
    ]);
});
