import { describe, expect, test } from 'vitest';
import { addressesOf, planInput, planOnce } from '../../../test/make/address-plan.ts';
import { ip, makeHostFacts, makeNode, makeService, tcp, udp } from '../../../test/make/service.ts';
import { type ListenerKey, type ServiceKey, serviceKey } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { AddressRecord } from './assignment.ts';

const dual = { ipFamilies: [4, 6] as const };

describe('a new Service', () => {
  test('gets the lowest free address', () => {
    const plan = planOnce(
      planInput(
        [makeService('b', {}, { createdAtMs: 2 }), makeService('a', {}, { createdAtMs: 1 })],
        ['192.0.2.8-192.0.2.9'],
      ),
    );
    expect(addressesOf(plan)).toEqual({ a: '192.0.2.8', b: '192.0.2.9' });
  });

  test('shares the lowest address where no port clashes, once none is free', () => {
    const services = [
      makeService('a', { ports: [tcp(80)] }, { createdAtMs: 1 }),
      makeService('b', { ports: [tcp(80)] }, { createdAtMs: 2 }),
      makeService('c', { ports: [tcp(443)] }, { createdAtMs: 3 }),
    ];
    expect(addressesOf(planOnce(planInput(services, ['192.0.2.8-192.0.2.9'])))).toEqual({
      a: '192.0.2.8',
      b: '192.0.2.9',
      c: '192.0.2.8',
    });
  });

  test('names the Service that holds its port when there is one address only', () => {
    const plan = planOnce(
      planInput([makeService('a', {}, { createdAtMs: 1 }), makeService('b', {}, { createdAtMs: 2 })], ['192.0.2.8']),
    );
    expect(plan.assignments.get('default/b' as ServiceKey)?.verdict).toEqual({
      reason: 'PortConflict',
      message: 'port 80 of 192.0.2.8 belongs to Service default/a; use another port or address',
    });
  });

  test.each([
    [
      'one port that is in use everywhere',
      {},
      'port 80 is in use on both IPv4 addresses of the pool: add addresses, or use another port',
    ],
    [
      'several ports',
      { ports: [tcp(80), tcp(81)] },
      'one of its ports is in use on both IPv4 addresses of the pool: add addresses, or use other ports',
    ],
  ])('says that the pool is exhausted when there are several: %s', (_, spec, message) => {
    const services = ['a', 'b', 'c'].map((name, index) =>
      makeService(name, name === 'c' ? spec : {}, { createdAtMs: index }),
    );
    const plan = planOnce(planInput(services, ['192.0.2.8-192.0.2.9']));
    expect(plan.assignments.get('default/c' as ServiceKey)?.verdict).toEqual({ reason: 'PoolExhausted', message });
  });

  test('with two families gets an address of each', () => {
    expect(addressesOf(planOnce(planInput([makeService('a', dual)], ['192.0.2.8', '2001:db8::/64'])))).toEqual({
      a: '192.0.2.8 2001:db8::',
    });
  });

  test('that prefers two families is content with one', () => {
    expect(addressesOf(planOnce(planInput([makeService('a', dual)], ['192.0.2.8'])))).toEqual({ a: '192.0.2.8' });
  });

  test('that prefers two families says why it has one, although the pool has both', () => {
    const services = [
      makeService('a', {}, { createdAtMs: 1 }),
      makeService('b', dual, { createdAtMs: 2 }),
      makeService('c', dual, { createdAtMs: 3 }),
    ];
    const { assignments } = planOnce(planInput(services, ['192.0.2.8', '2001:db8::8-2001:db8::9']));
    const words = (name: string): unknown => assignments.get(`default/${name}` as ServiceKey)?.verdict;
    const taken = 'port 80 of 192.0.2.8 belongs to Service default/a; use another port or address';
    expect([words('a'), words('b'), words('c')]).toEqual([
      { reason: 'Assigned', message: 'assigned 192.0.2.8' },
      { reason: 'Assigned', message: `assigned 2001:db8::8; no IPv4 address: ${taken}` },
      { reason: 'Assigned', message: `assigned 2001:db8::9; no IPv4 address: ${taken}` },
    ]);
  });

  test('that requires two families gets both or none, and holds nothing back', () => {
    const services = [
      makeService('a', { ...dual, requireDualStack: true }, { createdAtMs: 1 }),
      makeService('b', {}, { createdAtMs: 2 }),
    ];
    expect(addressesOf(planOnce(planInput(services, ['192.0.2.8'])))).toEqual({
      a: 'FamilyUnavailable',
      b: '192.0.2.8',
    });
  });

  test('gets an address for TCP and UDP, and a port that cannot be served is refused by name', () => {
    const assignment = planOnce(
      planInput([makeService('a', { ports: [tcp(53), udp(53), udp(54, 0)], dataplane: 'haproxy' })], ['192.0.2.8']),
    ).assignments.get('default/a' as ServiceKey);
    expect(assignment?.addresses[0]?.served).toEqual([tcp(53), udp(53)]);
    expect(assignment?.refused).toMatchObject([{ port: udp(54, 0), reason: 'NodePortMissing' }]);
  });

  test.each(['direct', undefined])(
    'gets an address for TCP and UDP on the same port, without nodePorts, if it requests %s',
    (dataplane) => {
      const ports = [tcp(53, 0), udp(53, 0)];
      const service = makeService('a', { ports, dataplane });
      const assignment = planOnce(planInput([service], ['192.0.2.8'])).assignments.get(service.key);
      expect(assignment).toMatchObject({ addresses: [{ served: ports, unserved: [] }], refused: [] });
    },
  );

  test('without nodePorts gets no address if it requests HAProxy', () => {
    const service = makeService('a', { ports: [tcp(80, 0)], dataplane: 'haproxy' });
    expect(addressesOf(planOnce(planInput([service], ['192.0.2.8'])))).toEqual({ a: 'NodePortMissing' });
  });

  test('never waits for a search through 2^128 addresses', () => {
    const services = Array.from({ length: 1_000 }, (_, index) =>
      makeService(`s${index}`, { ipFamilies: [6] }, { createdAtMs: index }),
    );
    expect(addressesOf(planOnce(planInput(services, ['::/0'])))['s999']).toBe('::3e7');
  });
});

test.each([
  ['the address of a node', [makeNode('n1', '192.0.2.8')], makeHostFacts()],
  ['an address that this host needs', [], makeHostFacts({ needs: new Map([['192.0.2.8', 'default gateway']]) })],
])('the pool never holds %s', (_, nodes, host) => {
  expect(addressesOf(planOnce(planInput([makeService('a')], ['192.0.2.8-192.0.2.9'], { nodes, host })))).toEqual({
    a: '192.0.2.9',
  });
});

test('a Service leaves an address that turns out to be needed by the host', () => {
  const first = planOnce(planInput([makeService('a')], ['192.0.2.8-192.0.2.9']));
  const host = makeHostFacts({ needs: new Map([['192.0.2.8', 'the API server']]) });
  const next = planOnce(planInput([makeService('a')], ['192.0.2.8-192.0.2.9'], { host, records: first.records }));
  expect(addressesOf(next)).toEqual({ a: '192.0.2.9' });
});

test('addresses are in the order of the families of the Service', () => {
  const addresses = ['192.0.2.8', '2001:db8::8'];
  const plan = planOnce(
    planInput(
      [makeService('a', { ipFamilies: [6, 4] }), makeService('b', { ipFamilies: [4, 6], ports: [tcp(81)] })],
      addresses,
    ),
  );
  expect(addressesOf(plan)).toEqual({ a: '2001:db8::8 192.0.2.8', b: '192.0.2.8 2001:db8::8' });
});

test('of two Services with a record of the same listener, the younger gets the same answer from each plan', () => {
  const services = ['a', 'b'].map((name, index) =>
    makeService(name, {}, { namespace: name, key: serviceKey(name, name), createdAtMs: index }),
  );
  const listener = '192.0.2.8|80|TCP' as ListenerKey;
  const record = ({ uid, key }: Service): AddressRecord => ({
    uid,
    service: key,
    addresses: [ip('192.0.2.8')],
    listeners: [listener],
  });
  const host = makeHostFacts({
    ownAddresses: [ip('192.0.2.8')],
    listening: [{ protocol: 'TCP', address: undefined, family: 4, port: 80 }],
  });
  const records = PersistentMap.from(services.map((service) => [service.uid, record(service)]));
  const input = planInput(services, ['192.0.2.8'], { host, records });
  const first = planOnce(input);
  const [older, younger] = services.map(({ key }) => first.assignments.get(key));
  expect(older).toMatchObject({ addresses: [{ served: [tcp(80)] }] });
  expect(younger).toMatchObject({ addresses: [{ unserved: [{ reason: 'PortInUseOnHost' }] }], waitsForHost: true });
  const again = planOnce({ ...input, records: first.records });
  expect([...again.assignments]).toEqual([...first.assignments]);
});
