import { describe, expect, test } from 'vitest';
import { addressesOf, planInput, planOnce } from '../../../test/make/address-plan.ts';
import { ip, makeHostFacts, makeNode, makeService, makeSite, tcp, udp } from '../../../test/make/service.ts';
import type { ServiceKey } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import type { Assignment } from './assignment.ts';
import type { AddressInput } from './plan.ts';

describe('an address that a Service has', () => {
  test('stays when the pool grows below it, and when the pool no longer holds it', () => {
    const first = planOnce(planInput([makeService('a')], ['192.0.2.8']));
    expect(addressesOf(planOnce(planInput([makeService('a')], ['192.0.2.0/28'], { records: first.records })))).toEqual({
      a: '192.0.2.8',
    });
    expect(
      addressesOf(planOnce(planInput([makeService('a')], ['198.51.100.0/28'], { records: first.records }))),
    ).toEqual({
      a: '192.0.2.8',
    });
  });

  test('is never lost to an older Service that wants it', () => {
    const first = planOnce(planInput([makeService('young', {}, { createdAtMs: 9 })], ['192.0.2.8']));
    const services = [
      makeService('old', { loadBalancerIp: '192.0.2.8' }, { createdAtMs: 1 }),
      makeService('young', {}, { createdAtMs: 9 }),
    ];
    expect(addressesOf(planOnce(planInput(services, ['192.0.2.8'], { records: first.records })))).toEqual({
      young: '192.0.2.8',
      old: 'PortConflict',
    });
  });

  test('keeps its listeners when an older Service on the same address asks for one of its ports', () => {
    const before = [
      makeService('old', { ports: [tcp(80)] }, { createdAtMs: 1 }),
      makeService('young', { ports: [tcp(443)] }, { createdAtMs: 9 }),
    ];
    const first = planOnce(planInput(before, ['192.0.2.8']));
    const after = [makeService('old', { ports: [tcp(80), tcp(443)] }, { createdAtMs: 1 }), before[1]!];
    const next = planOnce(planInput(after, ['192.0.2.8'], { records: first.records }));
    expect(next.assignments.get('default/young' as ServiceKey)?.addresses[0]?.served).toEqual([tcp(443)]);
    expect(next.assignments.get('default/old' as ServiceKey)).toMatchObject({
      addresses: [{ served: [tcp(80)], unserved: [{ reason: 'PortConflict' }] }],
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
        { createdAtMs: 2, status: status('192.0.2.10', 'kubectl') },
      ),
      makeService(
        'outside',
        { loadBalancerClass: 'furiwake.dev/haproxy' },
        { createdAtMs: 1, status: status('198.51.100.9', 'kubectl') },
      ),
    ];
    const plan = planOnce(planInput(services, ['192.0.2.8-192.0.2.10']));
    expect(addressesOf(plan)).toEqual({ ours: 'AddressNotInPool', inside: '192.0.2.10', outside: '192.0.2.8' });
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
    const first = planOnce(planInput([makeService('a')], [], { site, host: before! }));
    expect(addressesOf(first)).toEqual({ a: '192.0.2.51' });
    expect(first.assignments.get('default/a' as ServiceKey)?.addresses[0]?.isHostAddress).toBe(true);
    const next = planOnce(planInput([makeService('a')], [], { site, host: after!, records: first.records }));
    expect(addressesOf(next)).toEqual({ a: '192.0.2.61' });
  });

  test('that was the host’s own stays so with a pool that does not have it, and is an address to add with one that has it', () => {
    const own = makeHostFacts({ ownAddresses: [ip('192.0.2.51')], primaryAddresses: [ip('192.0.2.51')] });
    const input = planInput([makeService('a')], [], { site: makeSite([], { handsOutOwn: true }), host: own });
    const { records } = planOnce(input);
    for (const [pool, isHostAddress] of [
      ['192.0.2.200-192.0.2.210', true],
      ['192.0.2.51-192.0.2.60', false],
    ] as const) {
      const later = planOnce(planInput([makeService('a')], [pool], { records }));
      expect(addressesOf(later)).toEqual({ a: '192.0.2.51' });
      const shown = later.assignments.get('default/a' as ServiceKey)?.addresses.map((each) => each.isHostAddress);
      expect(shown).toEqual([isHostAddress]);
      const again = planOnce(planInput([makeService('a')], [pool], { records: later.records }));
      expect(again.assignments).toEqual(later.assignments);
    }
  });

  test('that was the host’s own serves no port without a nodePort, as it did not then', () => {
    const own = makeHostFacts({ ownAddresses: [ip('192.0.2.51')], primaryAddresses: [ip('192.0.2.51')] });
    const site = makeSite([], { handsOutOwn: true });
    const { records } = planOnce(planInput([makeService('a')], [], { site, host: own }));
    const services = [makeService('a', { ports: [tcp(80), udp(53, 0)] })];
    const { assignments } = planOnce(planInput(services, ['192.0.2.200-192.0.2.210'], { records }));
    const [address] = assignments.get('default/a' as ServiceKey)?.addresses ?? [];
    expect(address?.served.map(({ port }) => port)).toEqual([80]);
    expect(address?.unserved).toMatchObject([{ port: { port: 53 }, reason: 'NodePortMissing' }]);
  });

  test('claimed by two Services goes to the older, then to the lower UID', () => {
    const status = {
      ingress: [{ ip: '192.0.2.9', hostname: undefined, ipMode: 'Proxy', ports: [] }],
      conditions: [],
      ingressManager: 'furiwake',
    };
    const services = [
      makeService('b', {}, { createdAtMs: 1, status }),
      makeService('a', {}, { createdAtMs: 1, status }),
      makeService('old', {}, { createdAtMs: 0, status }),
    ];
    expect(addressesOf(planOnce(planInput(services, ['192.0.2.8-192.0.2.10'])))).toEqual({
      old: '192.0.2.9',
      a: '192.0.2.8',
      b: '192.0.2.10',
    });
  });

  test('in status is adopted though the record gives it to a Service that no longer exists', () => {
    const requested = makeService('gone', { loadBalancerIp: '192.0.2.9' });
    const { records } = planOnce(planInput([requested], ['192.0.2.8-192.0.2.9']));
    expect([...records.values()]).toMatchObject([{ addresses: [{ text: '192.0.2.9' }] }]);
    const ingress = [{ ip: '192.0.2.9', hostname: undefined, ipMode: 'Proxy', ports: [] }];
    const restored = makeService('restored', {}, { status: { ingress, ingressManager: 'furiwake' } });
    const plan = planOnce(planInput([restored], ['192.0.2.8-192.0.2.9'], { records }));
    expect(addressesOf(plan)).toEqual({ restored: '192.0.2.9' });
    expect([...plan.records.keys()]).toEqual([restored.uid]);
  });

  test('does not belong to a new Service of the same name', () => {
    const first = planOnce(planInput([makeService('a')], ['192.0.2.8-192.0.2.9']));
    const again = makeService('a', {}, { uid: 'uid-other' as Service['uid'] });
    const next = planOnce(planInput([again], ['192.0.2.8-192.0.2.9'], { records: first.records }));
    expect([...next.records.keys()]).toEqual(['uid-other']);
  });
});

test('a port that a Service leaves goes to one of those that wait for it on the address', () => {
  const [left, one, two] = [80, 81, 82].map((port, index) =>
    makeService(`s${index}`, { ports: [tcp(port)] }, { createdAtMs: index }),
  ) as [Service, Service, Service];
  const { records } = planOnce(planInput([left, one, two], ['192.0.2.8']));
  const moving = { ...left, spec: { ...left.spec, loadBalancerIp: '192.0.2.9' } };
  const waiting = [one, two].map((service) => ({
    ...service,
    spec: { ...service.spec, ports: [...service.spec.ports, tcp(80)] },
  }));
  const { assignments } = planOnce(planInput([moving, ...waiting], ['192.0.2.8-192.0.2.9'], { records }));
  expect(waiting.map(({ key }) => assignments.get(key)?.addresses[0])).toMatchObject([
    { served: [{ port: 81 }, { port: 80 }], unserved: [] },
    { served: [{ port: 82 }], unserved: [{ reason: 'PortConflict' }] },
  ]);
});

describe('a start with other --addresses and another --state-dir', () => {
  const ingress = [{ ip: '198.51.100.1', hostname: undefined, ipMode: 'Proxy', ports: [] }];
  const published = (spec: Partial<Service['spec']> = {}): Service =>
    makeService('a', spec, { status: { ingress, ingressManager: 'furiwake' } });
  const planned = (service: Service, rest: Partial<AddressInput> = {}): Assignment | undefined =>
    planOnce({ ...planInput([service], ['192.0.2.8']), ...rest }).assignments.get(service.key);

  test('assigns nothing, and leaves the status to the administrator', () => {
    const assignment = planned(published());
    expect(assignment).toMatchObject({ addresses: [], keepsStatus: true, verdict: { reason: 'AddressNotInPool' } });
    expect(assignment?.verdict.message).toContain('furiwake cleanup --cluster');
  });

  test('and without --addresses, which gave the recorded address: the same, until they are back', () => {
    const { records } = planOnce(planInput([makeService('a')], ['198.51.100.1']));
    const site = makeSite([], { handsOutOwn: true });
    const host = makeHostFacts({ ownAddresses: [ip('192.0.2.51')], primaryAddresses: [ip('192.0.2.51')] });
    const without = planOnce(planInput([published()], [], { site, host, records }));
    expect(without.assignments.get('default/a' as ServiceKey)).toMatchObject({ addresses: [], keepsStatus: true });
    const again = planOnce(planInput([published()], [], { site, host, records: without.records }));
    expect(again.assignments.get('default/a' as ServiceKey)).toMatchObject({ addresses: [], keepsStatus: true });
    expect(addressesOf(planOnce(planInput([published()], ['198.51.100.0/28'], { records: again.records })))).toEqual({
      a: '198.51.100.1',
    });
  });

  test.each([
    ['another host is known', { movesServices: true }, ['192.0.2.51']],
    ['the host has no address at first', {}, []],
  ])('and without --addresses where %s: also the same, and the record stays', (_, choice, texts) => {
    const { records } = planOnce(planInput([makeService('a')], ['198.51.100.1']));
    const site = makeSite([], { handsOutOwn: true, ...choice });
    const own = texts.map(ip);
    const host = makeHostFacts({ ownAddresses: own, primaryAddresses: own });
    const without = planOnce(planInput([published()], [], { site, host, records }));
    expect(without.assignments.get('default/a' as ServiceKey)).toMatchObject({ addresses: [], keepsStatus: true });
    expect([...without.records]).toEqual([...records]);
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
    const { assignments } = planOnce(planInput([service], ['192.0.2.8', '198.51.100.1'], { nodes }));
    expect(assignments.get(service.key)).toMatchObject({ addresses: [{ ip: { text: '192.0.2.8' } }] });
  });

  test('with the record of the address is no such start', () => {
    const { records } = planOnce(planInput([makeService('a')], ['198.51.100.1']));
    expect(planned(published(), { records })).toMatchObject({ addresses: [{ ip: { text: '198.51.100.1' } }] });
  });
});
