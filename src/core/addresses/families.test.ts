import { expect, test } from 'vitest';
import { planInput, planOnce } from '../../../test/make/address-plan.ts';
import { makeService } from '../../../test/make/service.ts';
import type { Service } from '../model/service.ts';
import type { AddressRecord } from './assignment.ts';

const both = ['192.0.2.8-192.0.2.9', '2001:db8::8-2001:db8::9'];

/** The addresses of the Service with this record, when nothing else is known. */
function addressesFor(service: Service, ranges: readonly string[], records = planOnce(planInput([], ranges)).records) {
  const { assignments } = planOnce(planInput([service], ranges, { records }));
  return [...assignments.values()].flatMap(({ addresses }) => addresses.map(({ ip }) => ip.text));
}

function recordsOf(service: Service): ReturnType<typeof planOnce>['records'] {
  const { records } = planOnce(planInput([service], both));
  const found: readonly AddressRecord[] = [...records.values()];
  expect(found[0]?.addresses).toHaveLength(2);
  return records;
}

test('a Service that gives up a family leaves its address of that family', () => {
  const records = recordsOf(makeService('a', { ipFamilies: [4, 6] }));
  expect(addressesFor(makeService('a', { ipFamilies: [4] }), both, records)).toEqual(['192.0.2.8']);
  expect(addressesFor(makeService('a', { ipFamilies: [6] }), both, records)).toEqual(['2001:db8::8']);
});

test('a Service that requires two families and had both keeps one that is left', () => {
  const service = makeService('a', { ipFamilies: [4, 6], requireDualStack: true });
  const records = recordsOf(service);
  const one = records.with(
    Array.from(records, ([uid, record]) => [
      uid,
      { ...record, addresses: record.addresses.filter(({ family }) => family === 4) },
    ]),
  );
  expect(addressesFor(service, ['192.0.2.8-192.0.2.9'], one)).toEqual(['192.0.2.8']);
  expect(addressesFor(service, ['192.0.2.8-192.0.2.9'])).toEqual([]);
});

test('of two addresses of a family in a status without a record the first is adopted', () => {
  const ingress = ['192.0.2.9', '192.0.2.8'].map((ip) => ({ ip, hostname: undefined, ipMode: undefined, ports: [] }));
  const service = makeService('a', {}, { status: { ingress, ingressManager: 'furiwake' } });
  expect(addressesFor(service, both)).toEqual(['192.0.2.9']);
});
