import { describe, expect, test } from 'vitest';
import { byKey, ip, makeHostFacts, makeNode, makeService, makeSite, poolOf, tcp } from '../../../test/make/service.ts';
import { addressesAnnotations } from '../model/contract.ts';
import { type ServiceKey, serviceKey } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import type { Service } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { Assignment } from './assignment.ts';
import { type AddressInput, type AddressPlan, makeAddressPlanner } from './plan.ts';

function input(
  services: readonly Service[],
  addresses: readonly string[],
  { nodes = [], ...rest }: Partial<AddressInput> & { readonly nodes?: readonly Node[] } = {},
): AddressInput {
  const { site = makeSite(addresses), host = makeHostFacts() } = rest;
  return {
    services: byKey(services),
    records: PersistentMap.empty(),
    site,
    host,
    pool: poolOf(site, host, nodes),
    ...rest,
  };
}

/** By a planner that knows nothing of an earlier plan. */
function planAddresses(of: AddressInput): AddressPlan {
  return makeAddressPlanner()(of);
}

/** `name → addresses`, or the reason why there are none. */
function shown(plan: AddressPlan): Record<string, string> {
  return Object.fromEntries(
    [...plan.assignments].map(([key, { addresses, verdict }]) => [
      key.slice('default/'.length),
      addresses.map((each) => each.ip.text).join(' ') || verdict.reason,
    ]),
  );
}

const dual = { ipFamilies: [4, 6] as const };

describe('a new Service', () => {
  test('gets the lowest free address', () => {
    const plan = planAddresses(
      input(
        [makeService('b', {}, { createdAtMs: 2 }), makeService('a', {}, { createdAtMs: 1 })],
        ['192.0.2.8-192.0.2.9'],
      ),
    );
    expect(shown(plan)).toEqual({ a: '192.0.2.8', b: '192.0.2.9' });
  });

  test('shares the lowest address where no port clashes, once none is free', () => {
    const services = [
      makeService('a', { ports: [tcp(80)] }, { createdAtMs: 1 }),
      makeService('b', { ports: [tcp(80)] }, { createdAtMs: 2 }),
      makeService('c', { ports: [tcp(443)] }, { createdAtMs: 3 }),
    ];
    expect(shown(planAddresses(input(services, ['192.0.2.8-192.0.2.9'])))).toEqual({
      a: '192.0.2.8',
      b: '192.0.2.9',
      c: '192.0.2.8',
    });
  });

  test('is told who holds its port when there is one address only', () => {
    const plan = planAddresses(
      input([makeService('a', {}, { createdAtMs: 1 }), makeService('b', {}, { createdAtMs: 2 })], ['192.0.2.8']),
    );
    expect(plan.assignments.get('default/b' as ServiceKey)?.verdict).toEqual({
      reason: 'PortConflict',
      message: 'port 80 of 192.0.2.8 belongs to Service default/a',
    });
  });

  test('is told that the pool is exhausted when there are several', () => {
    const services = ['a', 'b', 'c'].map((name, index) => makeService(name, {}, { createdAtMs: index }));
    expect(shown(planAddresses(input(services, ['192.0.2.8-192.0.2.9'])))).toMatchObject({ c: 'PoolExhausted' });
  });

  test('with two families gets an address of each', () => {
    expect(shown(planAddresses(input([makeService('a', dual)], ['192.0.2.8', '2001:db8::/64'])))).toEqual({
      a: '192.0.2.8 2001:db8::',
    });
  });

  test('that prefers two families is content with one', () => {
    expect(shown(planAddresses(input([makeService('a', dual)], ['192.0.2.8'])))).toEqual({ a: '192.0.2.8' });
  });

  test('that requires two families gets both or none, and holds nothing back', () => {
    const services = [
      makeService('a', { ...dual, requireDualStack: true }, { createdAtMs: 1 }),
      makeService('b', {}, { createdAtMs: 2 }),
    ];
    expect(shown(planAddresses(input(services, ['192.0.2.8'])))).toEqual({ a: 'FamilyUnavailable', b: '192.0.2.8' });
  });

  test('with UDP ports only gets no address', () => {
    const udp = { name: 'dns', protocol: 'UDP' as const, port: 53, nodePort: 30_053 };
    expect(shown(planAddresses(input([makeService('a', { ports: [udp] })], ['192.0.2.8'])))).toEqual({
      a: 'UnsupportedProtocol',
    });
  });

  test('with a TCP and a UDP port gets an address, and the UDP port is refused by name', () => {
    const udp = { name: 'dns', protocol: 'UDP' as const, port: 53, nodePort: 30_053 };
    const assignment = planAddresses(
      input([makeService('a', { ports: [tcp(53), udp] })], ['192.0.2.8']),
    ).assignments.get('default/a' as ServiceKey);
    expect(assignment?.addresses[0]?.served).toEqual([tcp(53)]);
    expect(assignment?.refused).toEqual([
      { port: udp, reason: 'UnsupportedProtocol', message: 'UDP port 53 is not served: only TCP is' },
    ]);
  });

  test('without nodePorts gets no address', () => {
    expect(shown(planAddresses(input([makeService('a', { ports: [tcp(80, 0)] })], ['192.0.2.8'])))).toEqual({
      a: 'NodePortMissing',
    });
  });

  test('gets no port of the host itself that a program there listens on, or that is reserved', () => {
    const own = makeHostFacts({
      ownAddresses: [ip('192.0.2.8')],
      listening: [{ address: undefined, family: 6 as const, port: 8080 }],
    });
    const services = [
      makeService('a', { ports: [tcp(22)] }),
      makeService('b', { ports: [tcp(8080)] }),
      makeService('c', { ports: [tcp(443)] }),
    ];
    expect(shown(planAddresses(input(services, ['192.0.2.8'], { host: own })))).toEqual({
      a: 'PortInUseOnHost',
      b: 'PortInUseOnHost',
      c: '192.0.2.8',
    });
  });

  test('is refused a port of the host itself that it asks for later, and keeps the others', () => {
    const own = makeHostFacts({
      ownAddresses: [ip('192.0.2.8')],
      listening: [{ address: undefined, family: 6 as const, port: 9100 }],
    });
    const first = planAddresses(input([makeService('a', { ports: [tcp(80)] })], ['192.0.2.8'], { host: own }));
    const edited = makeService('a', { ports: [tcp(80), tcp(22), tcp(9100)] });
    const { assignments } = planAddresses(input([edited], ['192.0.2.8'], { host: own, records: first.records }));
    const [address] = assignments.get(edited.key)?.addresses ?? [];
    expect(address?.served.map(({ port }) => port)).toEqual([80]);
    expect(address?.taken.map(({ port, reason }) => [port.port, reason])).toEqual([
      [22, 'PortInUseOnHost'],
      [9100, 'PortInUseOnHost'],
    ]);
  });

  test('loses a port that is reserved by now, but not to a program that came later', () => {
    const present = makeService('a', { ports: [tcp(80), tcp(22)] });
    const first = planAddresses(input([present], ['192.0.2.8']));
    const own = makeHostFacts({
      ownAddresses: [ip('192.0.2.8')],
      listening: [{ address: undefined, family: 6 as const, port: 80 }],
    });
    const { assignments } = planAddresses(input([present], ['192.0.2.8'], { host: own, records: first.records }));
    const [address] = assignments.get(present.key)?.addresses ?? [];
    expect(address?.served.map(({ port }) => port)).toEqual([80]);
  });

  test('never waits for a search through 2^128 addresses', () => {
    const services = Array.from({ length: 1_000 }, (_, index) =>
      makeService(`s${index}`, { ipFamilies: [6] }, { createdAtMs: index }),
    );
    expect(shown(planAddresses(input(services, ['::/0'])))['s999']).toBe('::3e7');
  });
});

describe('a request', () => {
  test('is granted by field or annotation', () => {
    const services = [
      makeService('a', { loadBalancerIp: '192.0.2.9' }),
      makeService('b', { ...dual, addressAnnotations: [['furiwake.dev/addresses', '2001:db8::7, 192.0.2.7']] }),
    ];
    expect(shown(planAddresses(input(services, ['192.0.2.0/28', '2001:db8::/64'])))).toEqual({
      a: '192.0.2.9',
      b: '192.0.2.7 2001:db8::7',
    });
  });

  test.each([
    ['outside the pool', { loadBalancerIp: '198.51.100.1' }, 'AddressNotInPool'],
    ['that is no address', { loadBalancerIp: '192.0.2.300' }, 'InvalidRequest'],
    [
      'with a newline in it',
      { addressAnnotations: [['furiwake.dev/addresses', '192.0.2.1\nbind *:22']] },
      'InvalidRequest',
    ],
    [
      'for two of one family',
      { addressAnnotations: [['furiwake.dev/addresses', '192.0.2.1,192.0.2.2']] },
      'InvalidRequest',
    ],
    [
      'for a family that the Service has not',
      { addressAnnotations: [['furiwake.dev/addresses', '2001:db8::1']] },
      'InvalidRequest',
    ],
    [
      'said twice and differently',
      { loadBalancerIp: '192.0.2.1', addressAnnotations: [['furiwake.dev/addresses', '192.0.2.2']] },
      'ConflictingRequest',
    ],
    ['for a node’s address', { loadBalancerIp: '192.0.2.3' }, 'AddressInUse'],
  ] as const)('%s is refused', (_, spec, reason) => {
    const nodes = [makeNode('n1', '192.0.2.3')];
    expect(shown(planAddresses(input([makeService('a', spec)], ['192.0.2.0/29'], { nodes })))).toEqual({
      a: reason,
    });
  });

  test('moves a Service that has another address', () => {
    const first = planAddresses(input([makeService('a')], ['192.0.2.0/28']));
    const moved = planAddresses(
      input([makeService('a', { loadBalancerIp: '192.0.2.5' })], ['192.0.2.0/28'], { records: first.records }),
    );
    expect(shown(moved)).toEqual({ a: '192.0.2.5' });
  });

  test('that cannot be granted leaves the Service the address it has', () => {
    const first = planAddresses(input([makeService('a')], ['192.0.2.0/28']));
    const requests: readonly Partial<Service['spec']>[] = [
      { loadBalancerIp: '198.51.100.1' },
      { loadBalancerIp: '192.0.2.1', addressAnnotations: [['furiwake.dev/addresses', '192.0.2.2']] },
      { loadBalancerIp: 'x' },
    ];
    for (const spec of requests) {
      const next = planAddresses(input([makeService('a', spec)], ['192.0.2.0/28'], { records: first.records }));
      expect(shown(next)).toEqual({ a: '192.0.2.0' });
      expect(next.assignments.get('default/a' as ServiceKey)?.verdict.reason).not.toBe('Assigned');
    }
  });
});

describe('a start with other --addresses and another --state-dir', () => {
  const ingress = [{ ip: '198.51.100.1', hostname: undefined, ipMode: 'Proxy', ports: [] }];
  const published = (spec: Partial<Service['spec']> = {}): Service =>
    makeService('a', spec, { status: { ingress, ingressManager: 'furiwake' } });
  const planned = (service: Service, rest: Partial<AddressInput> = {}): Assignment | undefined =>
    planAddresses({ ...input([service], ['192.0.2.8']), ...rest }).assignments.get(service.key);

  test('assigns nothing, and leaves the status to the administrator', () => {
    const assignment = planned(published());
    expect(assignment).toMatchObject({ addresses: [], keepsStatus: true, verdict: { reason: 'AddressNotInPool' } });
    expect(assignment?.verdict.message).toContain('furiwake cleanup --cluster');
  });

  test('follows a request', () => {
    expect(planned(published({ loadBalancerIp: '192.0.2.8' }))).toMatchObject({
      addresses: [{ ip: { text: '192.0.2.8' } }],
      keepsStatus: false,
    });
  });

  test('moves the Service where another host has assigned its own address', () => {
    const site = makeSite(['192.0.2.8'], { movesServices: true });
    expect(planned(published(), { site })).toMatchObject({ addresses: [{ ip: { text: '192.0.2.8' } }] });
  });

  test('moves the Service where a node has the address by now', () => {
    const nodes = [makeNode('n1', '198.51.100.1')];
    const service = published();
    const { assignments } = planAddresses(input([service], ['192.0.2.8', '198.51.100.1'], { nodes }));
    expect(assignments.get(service.key)).toMatchObject({ addresses: [{ ip: { text: '192.0.2.8' } }] });
  });

  test('with the record of the address is no such start', () => {
    const { records } = planAddresses(input([makeService('a')], ['198.51.100.1']));
    expect(planned(published(), { records })).toMatchObject({ addresses: [{ ip: { text: '198.51.100.1' } }] });
  });
});

describe('annotations of other implementations', () => {
  test.each(addressesAnnotations)('%s requests addresses', (name) => {
    const service = makeService('a', { addressAnnotations: [[name, '192.0.2.9']] });
    expect(shown(planAddresses(input([service], ['192.0.2.0/28'])))).toEqual({ a: '192.0.2.9' });
  });

  test('that request the same as our own are one request', () => {
    const addressAnnotations = addressesAnnotations.map((name) => [name, '192.0.2.9'] as const);
    const service = makeService('a', { addressAnnotations });
    expect(shown(planAddresses(input([service], ['192.0.2.0/28'])))).toEqual({ a: '192.0.2.9' });
  });

  test('that request DHCP, as with kube-vip, are refused by name', () => {
    const service = makeService('a', { addressAnnotations: [['kube-vip.io/loadbalancerIPs', '0.0.0.0']] });
    const plan = planAddresses(input([service], ['192.0.2.0/28']));
    expect(plan.assignments.get(service.key)?.verdict).toMatchObject({
      reason: 'InvalidRequest',
      message: expect.stringContaining('kube-vip.io/loadbalancerIPs: 0.0.0.0 requests an address by DHCP'),
    });
  });
});

describe('an address of a Service of another namespace', () => {
  const of = (namespace: string, port: number, spec: Partial<Service['spec']> = {}): Service =>
    makeService(namespace, { ports: [tcp(port)], ...spec }, { namespace, key: serviceKey(namespace, namespace) });
  const verdicts = (services: readonly Service[], rest: Partial<AddressInput> = {}): readonly string[] =>
    [...planAddresses({ ...input(services, ['192.0.2.8']), ...rest }).assignments.values()].map(
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
      'served',
      'SharingNotAllowed',
    ]);
  });

  test('is shared without a key where the host has only its own address to assign', () => {
    const own = input([of('a', 80), of('b', 443)], ['192.0.2.8']);
    expect(verdicts([of('a', 80), of('b', 443)], { site: { ...own.site, handsOutOwn: true } })).toEqual([
      'served',
      'served',
    ]);
  });

  test('stays shared when a key is removed later', () => {
    const shared = [of('a', 80, { sharingKey: 'k' }), of('b', 443, { sharingKey: 'k' })];
    const { records } = planAddresses(input(shared, ['192.0.2.8']));
    expect(verdicts([of('a', 80), of('b', 443)], { records })).toEqual(['served', 'served']);
  });

  test('is refused without the name of its Service', () => {
    const services = [of('a', 80), of('b', 80)];
    const { assignments } = planAddresses(input(services, ['192.0.2.8']));
    const message = assignments.get(serviceKey('b', 'b'))?.verdict.message;
    expect(message).toBe('port 80 of 192.0.2.8 belongs to a Service of another namespace');
  });
});

describe('an address that a Service has', () => {
  test('stays when the pool grows below it, and when the pool no longer holds it', () => {
    const first = planAddresses(input([makeService('a')], ['192.0.2.8']));
    expect(shown(planAddresses(input([makeService('a')], ['192.0.2.0/28'], { records: first.records })))).toEqual({
      a: '192.0.2.8',
    });
    expect(shown(planAddresses(input([makeService('a')], ['198.51.100.0/28'], { records: first.records })))).toEqual({
      a: '192.0.2.8',
    });
  });

  test('is never lost to an older Service that wants it', () => {
    const first = planAddresses(input([makeService('young', {}, { createdAtMs: 9 })], ['192.0.2.8']));
    const services = [
      makeService('old', { loadBalancerIp: '192.0.2.8' }, { createdAtMs: 1 }),
      makeService('young', {}, { createdAtMs: 9 }),
    ];
    expect(shown(planAddresses(input(services, ['192.0.2.8'], { records: first.records })))).toEqual({
      young: '192.0.2.8',
      old: 'PortConflict',
    });
  });

  test('keeps its listeners when an older Service on the same address asks for one of its ports', () => {
    const before = [
      makeService('old', { ports: [tcp(80)] }, { createdAtMs: 1 }),
      makeService('young', { ports: [tcp(443)] }, { createdAtMs: 9 }),
    ];
    const first = planAddresses(input(before, ['192.0.2.8']));
    const after = [makeService('old', { ports: [tcp(80), tcp(443)] }, { createdAtMs: 1 }), before[1]!];
    const next = planAddresses(input(after, ['192.0.2.8'], { records: first.records }));
    expect(next.assignments.get('default/young' as ServiceKey)?.addresses[0]?.served).toEqual([tcp(443)]);
    expect(next.assignments.get('default/old' as ServiceKey)).toMatchObject({
      addresses: [{ served: [tcp(80)], taken: [{ reason: 'PortConflict' }] }],
    });
  });

  test('in status is adopted if the pool holds it, whichever client wrote it', () => {
    const status = (text: string, manager: string): Service['status'] => ({
      ingress: [{ ip: text, hostname: undefined, ipMode: 'Proxy', ports: [] }],
      conditions: [],
      ingressManager: manager,
    });
    const services = [
      makeService('ours', {}, { createdAtMs: 3, status: status('198.51.100.1', 'furiwake') }),
      makeService(
        'inside',
        { loadBalancerClass: 'furiwake.dev/haproxy' },
        { createdAtMs: 2, status: status('192.0.2.9', 'kubectl') },
      ),
      makeService(
        'outside',
        { loadBalancerClass: 'furiwake.dev/haproxy' },
        { createdAtMs: 1, status: status('198.51.100.9', 'kubectl') },
      ),
    ];
    const plan = planAddresses(input(services, ['192.0.2.8-192.0.2.10']));
    expect(shown(plan)).toEqual({ ours: 'AddressNotInPool', inside: '192.0.2.9', outside: '192.0.2.8' });
    expect(plan.assignments.get('default/ours' as ServiceKey)).toMatchObject({
      addresses: [],
      disowned: ['198.51.100.1'],
      keepsStatus: true,
    });
    expect(plan.assignments.get('default/outside' as ServiceKey)?.disowned).toEqual(['198.51.100.9']);
  });

  test('follows the host’s own address where the pool is that address', () => {
    const site = makeSite([], { handsOutOwn: true });
    const [before, after] = ['192.0.2.51', '192.0.2.61'].map((text) =>
      makeHostFacts({ ownAddresses: [ip(text)], primaryAddresses: [ip(text)] }),
    );
    const first = planAddresses(input([makeService('a')], [], { site, host: before! }));
    expect(shown(first)).toEqual({ a: '192.0.2.51' });
    expect(first.assignments.get('default/a' as ServiceKey)?.isHostAddress).toBe(true);
    const next = planAddresses(input([makeService('a')], [], { site, host: after!, records: first.records }));
    expect(shown(next)).toEqual({ a: '192.0.2.61' });
  });

  test('claimed by two Services goes to the older, then to the lower UID', () => {
    const status = {
      ingress: [{ ip: '192.0.2.8', hostname: undefined, ipMode: 'Proxy', ports: [] }],
      conditions: [],
      ingressManager: 'furiwake',
    };
    const services = [
      makeService('b', {}, { createdAtMs: 1, status }),
      makeService('a', {}, { createdAtMs: 1, status }),
      makeService('old', {}, { createdAtMs: 0, status }),
    ];
    expect(shown(planAddresses(input(services, ['192.0.2.8-192.0.2.10'])))).toEqual({
      old: '192.0.2.8',
      a: '192.0.2.9',
      b: '192.0.2.10',
    });
  });

  test('does not belong to a new Service of the same name', () => {
    const first = planAddresses(input([makeService('a')], ['192.0.2.8-192.0.2.9']));
    const again = makeService('a', {}, { uid: 'uid-other' as Service['uid'] });
    const next = planAddresses(input([again], ['192.0.2.8-192.0.2.9'], { records: first.records }));
    expect([...next.records.keys()]).toEqual(['uid-other']);
  });
});

test.each([
  ['the address of a node', [makeNode('n1', '192.0.2.8')], makeHostFacts()],
  ['an address that this host needs', [], makeHostFacts({ needs: new Map([['192.0.2.8', 'default gateway']]) })],
])('the pool never holds %s', (_, nodes, host) => {
  expect(shown(planAddresses(input([makeService('a')], ['192.0.2.8-192.0.2.9'], { nodes, host })))).toEqual({
    a: '192.0.2.9',
  });
});

test('a Service leaves an address that turns out to be needed by the host', () => {
  const first = planAddresses(input([makeService('a')], ['192.0.2.8-192.0.2.9']));
  const host = makeHostFacts({ needs: new Map([['192.0.2.8', 'the API server']]) });
  const next = planAddresses(input([makeService('a')], ['192.0.2.8-192.0.2.9'], { host, records: first.records }));
  expect(shown(next)).toEqual({ a: '192.0.2.9' });
});

test('addresses are in the order of the families of the Service', () => {
  const addresses = ['192.0.2.8', '2001:db8::8'];
  const plan = planAddresses(
    input(
      [makeService('a', { ipFamilies: [6, 4] }), makeService('b', { ipFamilies: [4, 6], ports: [tcp(81)] })],
      addresses,
    ),
  );
  expect(shown(plan)).toEqual({ a: '2001:db8::8 192.0.2.8', b: '192.0.2.8 2001:db8::8' });
});
