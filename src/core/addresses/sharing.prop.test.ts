import { expect, test } from 'vitest';
import { eachPlan, hasOnRecord, rangeOf, requestedPool, servedBy } from '../../../test/make/each-plan.ts';
import type { Ip } from '../ip/ip.ts';
import { rangeContains } from '../ip/range.ts';
import type { Service } from '../model/service.ts';
import { listenerKey } from '../traffic/table.ts';
import type { AddressInput, AddressPlan } from './plan.ts';
import { decodeAddressRequest, decodePorts } from './request.ts';

/* Which addresses a Service may have by its pool, by request, and together with others. */

/** Whether another Service with its sharing key has the address, or had it until this plan. */
function sharesByKey(input: AddressInput, plan: AddressPlan, { key, spec }: Service, ip: Ip): boolean {
  return [...input.services.values()].some(
    (other) =>
      other.key !== key &&
      other.spec.sharingKey !== undefined &&
      other.spec.sharingKey === spec.sharingKey &&
      (plan.assignments.get(other.key)?.addresses.some((each) => each.ip.text === ip.text && each.served.length > 0) ===
        true ||
        other.status.ingress.some((each) => each.ip === ip.text) ||
        hasOnRecord(input, other, ip)),
  );
}

/** Whether the Service could serve every one of its ports there; by the plan alone, whatever the allocation thinks. */
function couldServe(input: AddressInput, plan: AddressPlan, { key, namespace, spec }: Service, ip: Ip): boolean {
  const there = servedBy(input, plan).filter((each) => each.ip.text === ip.text && each.service.key !== key);
  const ports = new Set(
    decodePorts(spec, input.site).servable.map(({ port, protocol }) => listenerKey(ip, port, protocol)),
  );
  return (
    rangeOf(input, ip) !== undefined &&
    [undefined, rangeOf(input, ip)?.name].includes(requestedPool(input, { spec } as Service)) &&
    there.every(
      ({ listener, service: { spec: other, namespace: home } }) =>
        !ports.has(listener) &&
        (home === namespace || (spec.sharingKey !== undefined && other.sharingKey === spec.sharingKey)),
    )
  );
}

test('an address on request is only of a Service that requests it, had it before, or shares it by its key', () => {
  eachPlan((input, plan) => {
    const onRequest = input.pool.ranges.filter((range) => range.isOnRequest);
    for (const service of input.services.values()) {
      const request = decodeAddressRequest(service.spec);
      const wanted = new Set([
        ...(request.ok ? request.addresses.map(({ text }) => text) : []),
        ...service.status.ingress.map((entry) => entry.ip),
      ]);
      for (const { ip } of plan.assignments.get(service.key)?.addresses ?? []) {
        if (!onRequest.some((range) => rangeContains(range, ip))) continue;
        const isOfPool = requestedPool(input, service) === rangeOf(input, ip)?.name;
        expect(
          isOfPool || hasOnRecord(input, service, ip) || wanted.has(ip.text) || sharesByKey(input, plan, service, ip),
        ).toBe(true);
      }
    }
  });
});

test('a Service that requests a pool by its name has only addresses of it, or keeps what it had', () => {
  eachPlan((input, plan) => {
    for (const service of input.services.values()) {
      const pool = requestedPool(input, service);
      if (pool === undefined) continue;
      for (const { ip } of plan.assignments.get(service.key)?.addresses ?? [])
        expect(rangeOf(input, ip)?.name === pool || hasOnRecord(input, service, ip)).toBe(true);
    }
  });
});

test('a Service that gets an address shares one of its sharing key where it can, and otherwise says why not', () => {
  eachPlan((input, plan) => {
    const { host, site, records, services } = input;
    // Ports that the host keeps are another test's matter.
    if (site.handsOutOwn || host.ownAddresses.length > 0) return;
    for (const service of services.values()) {
      const { key, uid, spec } = service;
      const { addresses, verdict } = plan.assignments.get(key)!;
      for (const { ip } of addresses) {
        if (spec.sharingKey === undefined || sharesByKey(input, plan, service, ip)) continue;
        const places = servedBy(input, plan).filter(
          (each) =>
            each.service.key !== key &&
            each.service.spec.sharingKey === spec.sharingKey &&
            each.ip.family === ip.family,
        );
        if (places.length === 0) continue;
        expect(verdict.reason !== 'Assigned' || verdict.message.includes('; not shared with')).toBe(true);
        const request = decodeAddressRequest(spec);
        const isNew = (records.get(uid)?.addresses ?? []).length === 0 && service.status.ingress.length === 0;
        if (!isNew || !request.ok || request.addresses.length > 0) continue;
        for (const place of places) {
          // The place was taken before this Service had its turn.
          const isOld = hasOnRecord(input, place.service, place.ip);
          expect(isOld && couldServe(input, plan, service, place.ip)).toBe(false);
        }
      }
    }
  });
});

test('Services of two namespaces share an address only by consent, or as they did before', () => {
  eachPlan((input, plan) => {
    if (input.site.handsOutOwn) return;
    const served = servedBy(input, plan);
    for (const one of served) {
      const isKept = input.records.get(one.service.uid)?.listeners.includes(one.listener) ?? false;
      for (const other of served) {
        if (other.ip.text !== one.ip.text || other.service.namespace === one.service.namespace) continue;
        const { sharingKey } = one.service.spec;
        if (sharingKey !== undefined && sharingKey === other.service.spec.sharingKey) continue;
        // Neither came after the other, or the later one had the address on record.
        expect(hasOnRecord(input, one.service, one.ip) || hasOnRecord(input, other.service, one.ip)).toBe(true);
        expect(!isKept || hasOnRecord(input, other.service, one.ip)).toBe(true);
      }
    }
  });
});
