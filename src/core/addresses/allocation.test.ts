import { describe, expect, test } from 'vitest';
import { addressesOf, planInput, planOnce } from '../../../test/make/address-plan.ts';
import { ip, makeHostFacts, makeNode, makeService, makeSite, poolOf, tcp, udp } from '../../../test/make/service.ts';
import { serviceKey, type ServiceUid } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import { listenerKey } from '../traffic/table.ts';
import { Allocation, type Claimant } from './allocation.ts';
import type { AddressInput } from './plan.ts';

/** A Service that asks for port 80, with a record of these addresses and of port 80 there. */
function claimant(name: string, more: Partial<Claimant['holder']> = {}, recorded: readonly string[] = []): Claimant {
  const service = serviceKey('default', name);
  const addresses = recorded.map(ip);
  const listeners = addresses.map((address) => listenerKey(address, 80, 'TCP'));
  return {
    holder: { service, namespace: 'default', sharingKey: undefined, ...more },
    pool: undefined,
    ports: [tcp(80)],
    record: recorded.length === 0 ? undefined : { uid: `uid-${name}` as ServiceUid, service, addresses, listeners },
    recorded: new Set(listeners),
  };
}

describe('a Service may have an address', () => {
  const site = makeSite(['192.0.2.0/29'], { reservedPorts: new Set([22]) });
  const host = makeHostFacts({
    ownAddresses: [ip('192.0.2.2'), ip('192.0.2.3')],
    listening: [{ protocol: 'TCP' as const, address: ip('192.0.2.2'), family: 4, port: 80 }],
    needs: new Map([['192.0.2.1', 'default gateway']]),
  });
  const allocation = new Allocation(site, poolOf(site, host, [makeNode('n1', '192.0.2.6')]), host);
  allocation.claim(claimant('first', { sharingKey: 'k' }), ip('192.0.2.4'), tcp(80));
  const other = { namespace: 'other' };
  const on = (who: Claimant, ...ports: readonly number[]): Claimant => ({
    ...who,
    ports: ports.map((port) => tcp(port)),
  });

  test.each<[string, Claimant, string, true | string]>([
    ['that is free', claimant('a'), '192.0.2.5', true],
    ['not outside the pool', claimant('a'), '198.51.100.1', 'AddressNotInPool'],
    ['outside the pool that it had before', claimant('a', {}, ['198.51.100.1']), '198.51.100.1', true],
    ['not one that the host needs', claimant('a'), '192.0.2.1', 'AddressInUse'],
    ['not one of a node, though it had it before', claimant('a', {}, ['192.0.2.6']), '192.0.2.6', 'AddressInUse'],
    ['not where a program of the host has the port', claimant('a'), '192.0.2.2', 'PortInUseOnHost'],
    ['where a program of the host took the port later', claimant('a', {}, ['192.0.2.2']), '192.0.2.2', true],
    ['where the program listens on another address', claimant('a'), '192.0.2.3', true],
    ['not where one of its ports is reserved', on(claimant('a'), 80, 22), '192.0.2.3', 'PortInUseOnHost'],
    ['not where another Service has the port', claimant('a'), '192.0.2.4', 'PortConflict'],
    ['where it has the port itself', claimant('first'), '192.0.2.4', true],
    ['with a Service of its namespace', on(claimant('a'), 81), '192.0.2.4', true],
    ['not with one of another namespace', on(claimant('a', other), 81), '192.0.2.4', 'SharingNotAllowed'],
    [
      'not with another sharing key',
      on(claimant('a', { ...other, sharingKey: 'l' }), 81),
      '192.0.2.4',
      'SharingNotAllowed',
    ],
    [
      'with one of another namespace and the same key',
      on(claimant('a', { ...other, sharingKey: 'k' }), 81),
      '192.0.2.4',
      true,
    ],
    [
      'with one of another namespace if it shared it before',
      on(claimant('a', other, ['192.0.2.4']), 81),
      '192.0.2.4',
      true,
    ],
  ])('%s', (_, who, address, expected) => {
    // Asked twice: asking changes nothing.
    for (let asked = 0; asked < 2; asked++) {
      const answer = allocation.mayHave(who, ip(address));
      expect(answer === true || answer.reason).toBe(expected);
    }
  });
});

describe('a port of the host itself', () => {
  test('gets no port of the host itself that a program there listens on, or that is reserved', () => {
    const own = makeHostFacts({
      ownAddresses: [ip('192.0.2.8')],
      listening: [{ protocol: 'TCP' as const, address: undefined, family: 6 as const, port: 8080 }],
    });
    const services = [
      makeService('a', { ports: [tcp(22)] }),
      makeService('b', { ports: [tcp(8080)] }),
      makeService('c', { ports: [tcp(443)] }),
    ];
    expect(addressesOf(planOnce(planInput(services, ['192.0.2.8'], { host: own })))).toEqual({
      a: 'PortInUseOnHost',
      b: 'PortInUseOnHost',
      c: '192.0.2.8',
    });
  });

  test('is refused a port of the host itself that it asks for later, and keeps the others', () => {
    const own = makeHostFacts({
      ownAddresses: [ip('192.0.2.8')],
      listening: [{ protocol: 'TCP' as const, address: undefined, family: 6 as const, port: 9100 }],
    });
    const first = planOnce(planInput([makeService('a', { ports: [tcp(80)] })], ['192.0.2.8'], { host: own }));
    const edited = makeService('a', { ports: [tcp(80), tcp(22), tcp(9100)] });
    const { assignments } = planOnce(planInput([edited], ['192.0.2.8'], { host: own, records: first.records }));
    const [address] = assignments.get(edited.key)?.addresses ?? [];
    expect(address?.served.map(({ port }) => port)).toEqual([80]);
    expect(address?.unserved.map(({ port, reason }) => [port.port, reason])).toEqual([
      [22, 'PortInUseOnHost'],
      [9100, 'PortInUseOnHost'],
    ]);
  });

  test('is refused for UDP if a program there listens on it with UDP, and for TCP if one does with TCP', () => {
    const own = makeHostFacts({
      ownAddresses: [ip('192.0.2.8')],
      listening: [
        { protocol: 'UDP', address: undefined, family: 4, port: 53 },
        { protocol: 'TCP', address: undefined, family: 4, port: 80 },
      ],
    });
    const service = makeService('a', { ports: [tcp(53), udp(53), tcp(80), udp(80)], dataplane: 'direct' });
    const first = planOnce(planInput([makeService('a', { ports: [tcp(53)] })], ['192.0.2.8'], { host: own }));
    const { assignments } = planOnce(planInput([service], ['192.0.2.8'], { host: own, records: first.records }));
    const [address] = assignments.get(service.key)?.addresses ?? [];
    expect(address?.served).toEqual([tcp(53), udp(80)]);
    expect(address?.unserved.map(({ message }) => message)).toEqual([
      'a program on the load-balancer host listens on UDP port 53 of its address 192.0.2.8',
      'a program on the load-balancer host listens on TCP port 80 of its address 192.0.2.8',
    ]);
  });

  test('loses a port that is reserved by now, but not to a program that came later', () => {
    const present = makeService('a', { ports: [tcp(80), tcp(22)] });
    const first = planOnce(planInput([present], ['192.0.2.8']));
    const own = makeHostFacts({
      ownAddresses: [ip('192.0.2.8')],
      listening: [{ protocol: 'TCP' as const, address: undefined, family: 6 as const, port: 80 }],
    });
    const { assignments } = planOnce(planInput([present], ['192.0.2.8'], { host: own, records: first.records }));
    const [address] = assignments.get(present.key)?.addresses ?? [];
    expect(address?.served.map(({ port }) => port)).toEqual([80]);
  });
});

test.each([
  [true, "requested address 192.0.2.9 is not the load-balancer host's own address, the only one that is assigned"],
  [false, 'requested address 192.0.2.9 is outside the address pool (192.0.2.8)'],
])('a request outside the pool names the pool, or the own address of the host (%s)', (handsOutOwn, message) => {
  const host = makeHostFacts({ ownAddresses: [ip('192.0.2.8')], primaryAddresses: [ip('192.0.2.8')] });
  const input = planInput([makeService('a', { loadBalancerIp: '192.0.2.9' })], ['192.0.2.8'], { host });
  const site = { ...input.site, handsOutOwn };
  const [assignment] = planOnce({ ...input, site }).assignments.values();
  expect(assignment?.verdict).toEqual({ reason: 'AddressNotInPool', message });
});

test('a request outside a pool of many ranges names five of them', () => {
  const pool = Array.from({ length: 900 }, (_, index) => `10.0.${index >> 6}.${(index & 63) * 4}`);
  const [assignment] = planOnce(
    planInput([makeService('a', { loadBalancerIp: '192.0.2.9' })], pool),
  ).assignments.values();
  expect(assignment?.verdict.message).toBe(
    'requested address 192.0.2.9 is outside the address pool (10.0.0.0, 10.0.0.4, 10.0.0.8, 10.0.0.12, 10.0.0.16 and 895 more)',
  );
});

describe('an address of a Service of another namespace', () => {
  const of = (namespace: string, port: number, spec: Partial<Service['spec']> = {}): Service =>
    makeService(namespace, { ports: [tcp(port)], ...spec }, { namespace, key: serviceKey(namespace, namespace) });
  const verdicts = (services: readonly Service[], rest: Partial<AddressInput> = {}): readonly string[] =>
    [...planOnce({ ...planInput(services, ['192.0.2.8']), ...rest }).assignments.values()].map(
      ({ verdict, addresses }) => ((addresses[0]?.served.length ?? 0) > 0 ? 'served' : verdict.reason),
    );

  test('is shared only where both have the same sharing key', () => {
    const [key, other] = [{ sharingKey: 'k' }, { sharingKey: 'l' }];
    expect(verdicts([of('a', 80), of('b', 443)])).toEqual(['served', 'SharingNotAllowed']);
    expect(verdicts([of('a', 80, key), of('b', 443)])).toEqual(['served', 'SharingNotAllowed']);
    expect(verdicts([of('a', 80), of('b', 443, key)])).toEqual(['served', 'SharingNotAllowed']);
    expect(verdicts([of('a', 80, key), of('b', 443, other)])).toEqual(['served', 'SharingNotAllowed']);
    expect(verdicts([of('a', 80, key), of('b', 443, key)])).toEqual(['served', 'served']);
    expect(verdicts([of('a', 80), of('b', 443, { loadBalancerIp: '192.0.2.8' })])).toEqual([
      'SharingNotAllowed',
      'served',
    ]);
  });

  test('is shared without a key where the host has only its own address to assign', () => {
    const own = planInput([of('a', 80), of('b', 443)], ['192.0.2.8']);
    expect(verdicts([of('a', 80), of('b', 443)], { site: { ...own.site, handsOutOwn: true } })).toEqual([
      'served',
      'served',
    ]);
  });

  test('stays shared when a key is removed later', () => {
    const shared = [of('a', 80, { sharingKey: 'k' }), of('b', 443, { sharingKey: 'k' })];
    const { records } = planOnce(planInput(shared, ['192.0.2.8']));
    expect(verdicts([of('a', 80), of('b', 443)], { records })).toEqual(['served', 'served']);
  });

  test('is refused without the name of its Service', () => {
    const services = [of('a', 80), of('b', 80)];
    const { assignments } = planOnce(planInput(services, ['192.0.2.8']));
    const message = assignments.get(serviceKey('b', 'b'))?.verdict.message;
    expect(message).toBe('port 80 of 192.0.2.8 belongs to a Service of another namespace; use another port or address');
  });
});
