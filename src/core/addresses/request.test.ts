import { describe, expect, test } from 'vitest';
import { addressesOf, planInput, planOnce } from '../../../test/make/address-plan.ts';
import { ip, makeHostFacts, makeNode, makeService, makeSite } from '../../../test/make/service.ts';
import { addressesAnnotations } from '../model/contract.ts';
import type { ServiceKey } from '../model/names.ts';
import type { Service } from '../model/service.ts';

type PlanFacts = Parameters<typeof planInput>[2];

const dual = { ipFamilies: [4, 6] as const };

describe('a request', () => {
  test('is granted by field or annotation', () => {
    const services = [
      makeService('a', { loadBalancerIp: '192.0.2.9' }),
      makeService('b', { ...dual, addressAnnotations: [['furiwake.dev/addresses', '2001:db8::7, 192.0.2.7']] }),
    ];
    expect(addressesOf(planOnce(planInput(services, ['192.0.2.0/28', '2001:db8::/64'])))).toEqual({
      a: '192.0.2.9',
      b: '192.0.2.7 2001:db8::7',
    });
  });

  test.each([
    ['outside the pool', { loadBalancerIp: '198.51.100.1' }, 'AddressNotInPool'],
    ['that is not an address', { loadBalancerIp: '192.0.2.300' }, 'InvalidRequest'],
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
    expect(addressesOf(planOnce(planInput([makeService('a', spec)], ['192.0.2.0/29'], { nodes })))).toEqual({
      a: reason,
    });
  });

  const own = { ownAddresses: [ip('192.0.2.51')], primaryAddresses: [ip('192.0.2.51')] };
  const ofHost = { site: makeSite([], { handsOutOwn: true }), host: makeHostFacts(own) };
  test.each<[request: string, rest: PlanFacts, message: string]>([
    ['198.51.100.1', {}, 'requested address 198.51.100.1 is outside the address pool (192.0.2.0-192.0.2.7)'],
    [
      '198.51.100.1',
      ofHost,
      "requested address 198.51.100.1 is not the load-balancer host's own address, the only one that is assigned",
    ],
    ['192.0.2.3', { nodes: [makeNode('n1', '192.0.2.3')] }, '192.0.2.3 is in use: address of node n1'],
    ['192.0.2', {}, 'spec.loadBalancerIP: "192.0.2" is not an IP address'],
    ['2001:db8::1', {}, 'spec.loadBalancerIP: 2001:db8::1 is IPv6, and the Service has only IPv4 (spec.ipFamilies)'],
  ])('for %s that is refused says why', (loadBalancerIp, rest, message) => {
    const service = makeService('a', { loadBalancerIp });
    const { assignments } = planOnce(planInput([service], ['192.0.2.0/29'], rest));
    expect(assignments.get(service.key)?.verdict.message).toBe(message);
  });

  test('moves a Service that has another address', () => {
    const first = planOnce(planInput([makeService('a')], ['192.0.2.0/28']));
    const moved = planOnce(
      planInput([makeService('a', { loadBalancerIp: '192.0.2.5' })], ['192.0.2.0/28'], { records: first.records }),
    );
    expect(addressesOf(moved)).toEqual({ a: '192.0.2.5' });
  });

  test('that cannot be granted leaves the Service the address it has', () => {
    const first = planOnce(planInput([makeService('a')], ['192.0.2.0/28']));
    const requests: readonly Partial<Service['spec']>[] = [
      { loadBalancerIp: '198.51.100.1' },
      { loadBalancerIp: '192.0.2.1', addressAnnotations: [['furiwake.dev/addresses', '192.0.2.2']] },
      { loadBalancerIp: 'x' },
    ];
    for (const spec of requests) {
      const next = planOnce(planInput([makeService('a', spec)], ['192.0.2.0/28'], { records: first.records }));
      expect(addressesOf(next)).toEqual({ a: '192.0.2.0' });
      expect(next.assignments.get('default/a' as ServiceKey)?.verdict.reason).not.toBe('Assigned');
    }
  });
});

describe('annotations of other implementations', () => {
  test.each(addressesAnnotations)('%s requests addresses', (name) => {
    const service = makeService('a', { addressAnnotations: [[name, '192.0.2.9']] });
    expect(addressesOf(planOnce(planInput([service], ['192.0.2.0/28'])))).toEqual({ a: '192.0.2.9' });
  });

  test('that request the same as our own are one request', () => {
    const addressAnnotations = addressesAnnotations.map((name) => [name, '192.0.2.9'] as const);
    const service = makeService('a', { addressAnnotations });
    expect(addressesOf(planOnce(planInput([service], ['192.0.2.0/28'])))).toEqual({ a: '192.0.2.9' });
  });

  test('that request the other family, as kube-vip’s cloud provider writes them, agree with the field', () => {
    const both = makeService('a', {
      ...dual,
      loadBalancerIp: '192.0.2.9',
      addressAnnotations: [['kube-vip.io/loadbalancerIPs', '192.0.2.9,2001:db8::9']],
    });
    const apart = makeService('b', {
      ...dual,
      loadBalancerIp: '2001:db8::7',
      addressAnnotations: [['purelb.io/addresses', '192.0.2.7']],
    });
    expect(addressesOf(planOnce(planInput([both, apart], ['192.0.2.0/28', '2001:db8::/120'])))).toEqual({
      a: '192.0.2.9 2001:db8::9',
      b: '192.0.2.7 2001:db8::7',
    });
  });

  test('that differ in one family are refused, and both are named', () => {
    const service = makeService('a', {
      ...dual,
      addressAnnotations: [
        ['metallb.io/loadBalancerIPs', '192.0.2.9,2001:db8::9'],
        ['lbipam.cilium.io/ips', '2001:db8::8,192.0.2.9'],
      ],
    });
    const plan = planOnce(planInput([service], ['192.0.2.0/28', '2001:db8::/120']));
    expect(plan.assignments.get(service.key)).toMatchObject({
      addresses: [],
      verdict: {
        reason: 'ConflictingRequest',
        message:
          'annotation metallb.io/loadBalancerIPs requests 2001:db8::9, annotation lbipam.cilium.io/ips requests 2001:db8::8: remove one of them',
      },
    });
  });

  test.each<[string, Partial<Service['spec']>]>([
    ['eip.openelb.kubesphere.io/v1alpha1', { addressAnnotations: [['eip.openelb.kubesphere.io/v1alpha1', '0.0.0.0']] }],
    ['kube-vip.io/loadbalancerIPs', { addressAnnotations: [['kube-vip.io/loadbalancerIPs', '0.0.0.0']] }],
    ['spec.loadBalancerIP', { loadBalancerIp: '0.0.0.0' }],
    ['spec.loadBalancerIP', { loadBalancerIp: '::', ipFamilies: [6] }],
  ])('or %s that request DHCP, as with kube-vip, are refused by name', (where, spec) => {
    const service = makeService('a', spec);
    const plan = planOnce(planInput([service], ['192.0.2.0/28', '2001:db8::/120']));
    expect(plan.assignments.get(service.key)?.verdict).toMatchObject({
      reason: 'InvalidRequest',
      message: expect.stringMatching(new RegExp(`${where}: (0\\.0\\.0\\.0|::) requests an address by DHCP`)),
    });
  });
});
