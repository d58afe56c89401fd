import { expect, test } from 'vitest';
import { addressesOf, planInput, planOnce } from '../../../test/make/address-plan.ts';
import { makeService, makeSite, ranges, tcp } from '../../../test/make/service.ts';
import type { ServiceKey } from '../model/names.ts';
import type { Service, ServiceSpec } from '../model/service.ts';
import type { Site } from '../model/site.ts';
import type { AddressInput, AddressPlan } from './plan.ts';

/* Pools with names, and Services that request one. */

const site: Site = {
  ...makeSite([]),
  ranges: [
    ...ranges('192.0.2.1'),
    ...ranges('192.0.2.8-192.0.2.9').map((range) => ({ ...range, name: 'web' })),
    ...ranges('192.0.2.16').map((range) => ({ ...range, name: 'dns', isOnRequest: true as const })),
  ],
};

const asks = (name: string, pool: string, createdAtMs: number, spec: Partial<ServiceSpec> = {}): Service =>
  makeService(name, { poolAnnotations: [['metallb.io/address-pool', pool]], ...spec }, { createdAtMs });

function planned(services: readonly Service[], rest: Partial<AddressInput> = {}): AddressPlan {
  return planOnce(planInput(services, [], { site, ...rest }));
}

test('a Service gets an address of the pool that it requests, also one on request, and of no other', () => {
  const services = [
    asks('web', 'web', 1),
    asks('dns', 'dns', 2),
    asks('dns-2', 'dns', 3),
    makeService('any', {}, { createdAtMs: 4 }),
    makeService('any-2', {}, { createdAtMs: 5 }),
    asks('ssh', 'dns', 6, { ports: [tcp(22)] }),
  ];
  expect(addressesOf(planned(services))).toEqual({
    web: '192.0.2.8',
    dns: '192.0.2.16',
    'dns-2': 'PortConflict',
    any: '192.0.2.1',
    'any-2': '192.0.2.9',
    ssh: '192.0.2.16',
  });
});

test.each<[string, Partial<ServiceSpec>, string, string]>([
  ['an unknown pool', {}, 'PoolUnknown', 'no pool is named "other"; --addresses has web, dns'],
  ['an address of another pool', { loadBalancerIp: '192.0.2.8' }, 'ConflictingRequest', '192.0.2.8 is not of pool dns'],
  [
    'two pools',
    {
      poolAnnotations: [
        ['metallb.io/address-pool', 'web'],
        ['purelb.io/service-group', 'dns'],
      ],
    },
    'ConflictingRequest',
    'annotation purelb.io/service-group requests pool "dns"',
  ],
  ['a family that the pool lacks', { ipFamilies: [6] }, 'FamilyUnavailable', 'pool dns has no IPv6 addresses'],
])('a request of %s is refused', (_, spec, reason, words) => {
  const service = asks('a', reason === 'PoolUnknown' ? 'other' : 'dns', 1, spec);
  expect(planned([service]).assignments.get(service.key)?.verdict).toMatchObject({
    reason,
    message: expect.stringContaining(words),
  });
});

test('a Service that requests a pool later moves there; it keeps its address while the pool has none for it', () => {
  const first = planned([makeService('a'), asks('dns', 'dns', 1)]);
  const moved = planned([asks('a', 'web', 0), asks('dns', 'dns', 1)], { records: first.records });
  expect(addressesOf(moved)).toEqual({ a: '192.0.2.8', dns: '192.0.2.16' });
  const stays = planned([asks('a', 'dns', 0), asks('dns', 'dns', 1)], { records: first.records });
  expect(addressesOf(stays)).toEqual({ a: '192.0.2.1', dns: '192.0.2.16' });
  expect(stays.assignments.get('default/a' as ServiceKey)?.verdict.message).toContain('; the Service keeps 192.0.2.1');
});

test('a Service that gets a pool later than its address by request keeps that, and reads that they do not agree', () => {
  const requests = { loadBalancerIp: '192.0.2.8' };
  const { records } = planned([makeService('a', requests)]);
  const plan = planned([asks('a', 'dns', 0, requests)], { records });
  expect(plan.assignments.get('default/a' as ServiceKey)).toMatchObject({
    addresses: [{ ip: { text: '192.0.2.8' } }],
    verdict: {
      reason: 'ConflictingRequest',
      message: '192.0.2.8 is not of pool dns, which the Service requests; the Service keeps 192.0.2.8',
    },
  });
});

test('two Services with a sharing key that share an address move to the pool that they request later, and share again', () => {
  const shares = { sharingKey: 'k' };
  const ssh = { ...shares, ports: [tcp(22)] };
  const first = planned([makeService('a', shares), makeService('b', ssh)]);
  expect(addressesOf(first)).toEqual({ a: '192.0.2.1', b: '192.0.2.1' });
  const moved = planned([asks('a', 'web', 0, shares), asks('b', 'web', 0, ssh)], { records: first.records });
  expect(addressesOf(moved)).toEqual({ a: '192.0.2.8', b: '192.0.2.8' });
  const apart = planned([makeService('a', shares), asks('b', 'web', 0, ssh)], { records: first.records });
  expect(addressesOf(apart)).toEqual({ a: '192.0.2.1', b: '192.0.2.8' });
  expect(apart.assignments.get('default/b' as ServiceKey)?.verdict.message).toBe(
    'assigned 192.0.2.8; not shared with the other Services of its sharing key: 192.0.2.1 is not of pool web, which the Service requests',
  );
});

test('a status without a record is adopted only if its address is of the pool', () => {
  const shown = (text: string): Service['status'] => ({
    ingress: [{ ip: text, hostname: undefined, ipMode: 'Proxy', ports: [] }],
    conditions: [],
    ingressManager: 'furiwake',
  });
  const services = [
    { ...asks('a', 'web', 1), status: shown('192.0.2.9') },
    { ...asks('b', 'web', 2), status: shown('192.0.2.1') },
  ];
  expect(addressesOf(planned(services))).toEqual({ a: '192.0.2.9', b: '192.0.2.8' });
});

test('where no pool has a name the annotation is ignored, and the condition says so', () => {
  const plan = planOnce(planInput([asks('a', 'web', 1)], ['192.0.2.8']));
  expect(plan.assignments.get('default/a' as ServiceKey)?.verdict).toEqual({
    reason: 'Assigned',
    message: 'assigned 192.0.2.8; ignored: annotation metallb.io/address-pool (--addresses names no pool)',
  });
});
