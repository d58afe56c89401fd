import { expect, test } from 'vitest';
import { makeService } from '../../test/make/service.ts';
import { tableOf } from '../../test/make/table.ts';
import type { Unwritten } from '../controller/unwritten.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import type { ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Ingress, Service } from '../core/model/service.ts';
import { type ServiceLine, serviceLines } from './host-status.ts';

const ingress = (ip: string): readonly Ingress[] => [{ ip, hostname: undefined, ipMode: 'Proxy', ports: [] }];
const wanted: NonNullable<Unwritten['wanted']> = {
  ingress: ingress('192.0.2.8'),
  conditions: ['AddressAssigned', 'Serving'].map((name) => ({
    type: `furiwake.dev/${name}`,
    status: 'True' as const,
    reason: name === 'Serving' ? 'Serving' : 'Assigned',
    message: 'of this host',
    lastTransitionTime: '',
  })),
};

function lineOf(service: Service, unwritten: Unwritten): ServiceLine | undefined {
  const plan = {
    eligibility: PersistentMap.from([[service.key, 'ours' as const]]),
    assignments: PersistentMap.empty<ServiceKey, Assignment>(),
    table: tableOf([]),
  };
  const known = {
    plan,
    services: new Map([[service.key, service]]),
    unwritten: new Map([[service.key, unwritten]]),
  };
  return serviceLines(known, new Map(), 0)[0];
}

test('a Service whose status another client keeps changing says so, and is as this host serves it', () => {
  const words = 'another client keeps changing this status';
  const changed = makeService('a', {}, { status: { ingress: ingress('203.0.113.1') } });
  expect(lineOf(changed, { reason: 'StatusConflict', words, wanted })).toMatchObject({
    status: 'Serving',
    reason: 'StatusConflict',
    message: words,
  });
});

test.each([
  ['status', wanted],
  ['finalizers', undefined],
])('a Service without an address whose %s is refused is pending, with the words of the refusal', (kind, status) => {
  const words = `the ${kind} cannot be written, retrying: forbidden`;
  expect(lineOf(makeService('a'), { reason: 'WriteRefused', words, wanted: status })).toMatchObject({
    status: 'Pending',
    reason: 'WriteRefused',
    message: words,
  });
});

test('while the API server takes no writes a Service is as this host serves it, not as its conditions say, and says so', () => {
  const [assigned, serving] = wanted.conditions;
  const down = { ...serving!, status: 'False' as const, reason: 'HaproxyDown', message: 'HAProxy does not run' };
  const before = makeService('a', {}, { status: wanted });
  const words = 'the status is not written yet: connection refused';
  const now = { ...wanted, conditions: [assigned!, down] };
  expect(lineOf(before, { reason: 'NotWritten', words, wanted: now })).toMatchObject({
    status: 'Not served',
    reason: 'HaproxyDown',
    message: `HAProxy does not run; ${words}`,
  });
  expect(lineOf(makeService('a'), { reason: 'NotWritten', words, wanted })).toMatchObject({
    status: 'Pending',
    reason: 'NotWritten',
    message: words,
  });
});
