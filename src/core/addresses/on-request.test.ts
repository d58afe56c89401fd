import { expect, test } from 'vitest';
import { addressesOf, planInput, planOnce } from '../../../test/make/address-plan.ts';
import {
  byKey,
  makeHostFacts,
  makeNode,
  makeService,
  makeSite,
  poolOf,
  ranges,
  tcp,
} from '../../../test/make/service.ts';
import type { Node } from '../model/node.ts';
import type { Service, ServiceSpec } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import { makeAddressPlanner } from './plan.ts';

/* Addresses of the pool for Services that request them. */

/** `name → addresses`, or the reason why there are none. */
function planned(
  services: readonly Service[],
  {
    free,
    onRequest,
    nodes = [],
  }: { readonly free: string; readonly onRequest: string; readonly nodes?: readonly Node[] },
): Readonly<Record<string, string>> {
  const reserved = ranges(onRequest).map((range) => ({ ...range, isOnRequest: true as const }));
  const site = { ...makeSite([free]), ranges: [...ranges(free), ...reserved] };
  const host = makeHostFacts();
  const { assignments } = makeAddressPlanner()({
    services: byKey(services),
    records: PersistentMap.empty(),
    site,
    host,
    pool: poolOf(site, host, nodes),
  });
  return Object.fromEntries(
    Array.from(assignments, ([key, { addresses, verdict }]) => [
      key.slice('default/'.length),
      addresses.map(({ ip }) => ip.text).join(' ') || verdict.reason,
    ]),
  );
}

const service = (name: string, createdAtMs: number, spec: Partial<ServiceSpec> = {}): Service =>
  makeService(name, spec, { createdAtMs });

test('only a Service that requests such an address gets it; no other one shares it', () => {
  const services = [
    service('a', 1),
    service('b', 2, { loadBalancerIp: '192.0.2.8' }),
    service('c', 3, { ports: [tcp(443)] }),
    service('d', 4),
  ];
  expect(planned(services, { free: '192.0.2.9', onRequest: '192.0.2.8' })).toEqual({
    a: '192.0.2.9',
    b: '192.0.2.8',
    c: '192.0.2.9',
    d: 'PortConflict',
  });
});

test('such an address stays free for a Service that is deleted and created again', () => {
  const pool = { free: '192.0.2.9-192.0.2.20', onRequest: '192.0.2.8' };
  const web = { loadBalancerIp: '192.0.2.8' };
  expect(planned([service('other', 2)], pool)).toEqual({ other: '192.0.2.9' });
  expect(planned([service('other', 2), service('web', 3, web)], pool)).toEqual({
    other: '192.0.2.9',
    web: '192.0.2.8',
  });
});

test('a range of 2^64 such addresses is not searched, and excluded addresses are refused', () => {
  const pool = { free: '2001:db8::1', onRequest: '2001:db8:1::-2001:db8:1:0:ffff:ffff:ffff:ffff' };
  const services = [
    service('a', 1, { ipFamilies: [6] }),
    service('b', 2, { ipFamilies: [6] }),
    service('c', 3, { ipFamilies: [6], loadBalancerIp: '2001:db8:1::7' }),
  ];
  expect(planned(services, { ...pool, nodes: [makeNode('n1', '2001:db8:1::7')] })).toEqual({
    a: '2001:db8::1',
    b: 'PortConflict',
    c: 'AddressInUse',
  });
});

test('if all addresses of a family are on request, a Service without a request gets none and reads so', () => {
  expect(planned([service('a', 1)], { free: '2001:db8::8', onRequest: '192.0.2.8' })).toEqual({ a: 'PoolExhausted' });
});

test('an older Service gets the address that a younger one of its sharing key takes by a pool on request', () => {
  const older = service('a', 1, { sharingKey: 'k' });
  const younger = service('b', 2, {
    sharingKey: 'k',
    ports: [tcp(443)],
    poolAnnotations: [['furiwake.dev/pool', 'web']],
  });
  const site = makeSite([]);
  const range = { ...ranges('192.0.2.8')[0]!, name: 'web', isOnRequest: true as const };
  const input = planInput([older, younger], [], { site: { ...site, ranges: [range] } });
  expect(addressesOf(planOnce(input))).toEqual({ a: '192.0.2.8', b: '192.0.2.8' });
});
