import { expect, test } from 'vitest';
import { byKey, makeHostFacts, makeService, makeSite, tcp } from '../../test/make/service.ts';
import type { AddressRecord } from '../core/addresses/assignment.ts';
import type { ServiceUid } from '../core/model/names.ts';
import type { Service } from '../core/model/service.ts';
import type { Site } from '../core/model/site.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { makePlanner } from './planner.ts';

const a = makeService('a', { ports: [tcp(80)] });
const b = makeService('b', { ports: [tcp(80)] });

/** A Service of another implementation with this address. */
function other(address: string, spec: Partial<Service['spec']> = { loadBalancerClass: 'example.com/other' }): Service {
  const ingress = [{ ip: address, hostname: undefined, ipMode: undefined, ports: [] }];
  return makeService('other', spec, { finalizers: [], status: { ingress, ingressManager: 'speaker' } });
}

/** Plans one snapshot after another; returns the addresses and reasons of `a` and `b`. */
function makeScene(site: Site = makeSite(['192.0.2.8-192.0.2.9'])) {
  const plan = makePlanner();
  const host = makeHostFacts();
  let records = PersistentMap.empty<ServiceUid, AddressRecord>();
  return (...services: readonly Service[]): readonly string[] => {
    const decision = plan({ site, services: byKey(services), nodes: PersistentMap.empty(), records, host });
    ({ records } = decision);
    return [a, b].flatMap(({ key }) => {
      const { addresses, verdict } = decision.assignments.get(key) ?? { addresses: [] };
      return addresses.length > 0 ? addresses.map(({ ip }) => ip.text) : (verdict?.reason ?? []);
    });
  };
}

test.each([
  ['of another class', other('192.0.2.8')],
  ['without a class, of another manager', other('192.0.2.8', {})],
])('an address in the status of a Service %s is not assigned until it is gone there', (_, foreign) => {
  const plan = makeScene();
  expect(plan(a, foreign)).toEqual(['192.0.2.9']);
  expect(plan(a, b, foreign)).toEqual(['192.0.2.9', 'PortConflict']);
  expect(plan(a, b)).toEqual(['192.0.2.9', '192.0.2.8']);
});

test('a request for it is refused', () => {
  const request = makeService('a', { ports: [tcp(80)], loadBalancerIp: '192.0.2.8' });
  expect(makeScene()(request, other('192.0.2.8'))).toEqual(['AddressInUse']);
});

test('a Service that has the address, by its record or by its status, keeps it', () => {
  const plan = makeScene();
  expect(plan(a)).toEqual(['192.0.2.8']);
  expect(plan(a, other('192.0.2.8'))).toEqual(['192.0.2.8']);
  const published = { ...a, status: { ...a.status, ingress: other('192.0.2.8').status.ingress } };
  expect(makeScene()(published, other('192.0.2.8'))).toEqual(['192.0.2.8']);
});

test('it is not given again when that Service is deleted', () => {
  const plan = makeScene();
  plan(a, other('192.0.2.8'));
  expect(plan(b, other('192.0.2.8'))).toEqual(['192.0.2.9']);
});

test('the address of a Service that was released is free, though another finalizer keeps the Service and its status', () => {
  const former = other('192.0.2.8', {});
  const released = {
    ...former,
    isDeleting: true,
    finalizers: ['example.com/backup'],
    status: { ...former.status, ingressManager: 'furiwake' },
  };
  expect(makeScene()(a, released)).toEqual(['192.0.2.8']);
});

test('a Service that is released has no claim to its former address when it asks for one again', () => {
  const plan = makeScene();
  expect(plan(a)).toEqual(['192.0.2.8']);
  expect(plan(makeService('a', { type: 'ClusterIP' }), b)).toEqual(['192.0.2.8']);
  expect(plan(a, b)).toEqual(['192.0.2.9', '192.0.2.8']);
});
