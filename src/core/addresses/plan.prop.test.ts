import fc from 'fast-check';
import { expect, test } from 'vitest';
import { planOnce } from '../../../test/make/address-plan.ts';
import { anyWorld, inputOf } from '../../../test/make/address-world.ts';
import { eachPlan, hasOnRecord, noRecords, rangeOf, requestedPool, servedBy } from '../../../test/make/each-plan.ts';
import type { Ip } from '../ip/ip.ts';
import { rangeContains } from '../ip/range.ts';
import type { Service, ServicePort } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import { requestedDataplane } from '../traffic/dataplane.ts';
import { asksForHaproxy } from '../traffic/port-options.ts';
import { listenerKey } from '../traffic/table.ts';
import type { AddressInput } from './plan.ts';
import { decodeAddressRequest, decodePorts } from './request.ts';

/** Whether a Service keeps a recorded address that the pool lacks: the host's own only until there is another one. */
function mayOutlivePool({ site, pool, records }: AddressInput, { uid }: Service, { family, text }: Ip): boolean {
  if (!site.handsOutOwn) return true;
  const wasOwn = records.get(uid)?.hostAddresses?.includes(text) === true;
  return wasOwn && !pool.ranges.some((range) => range.family === family);
}

test('no listener is given twice', () => {
  eachPlan((input, plan) => {
    const listeners = servedBy(input, plan).map(({ listener }) => listener);
    expect(new Set(listeners).size).toBe(listeners.length);
  }, 3_000);
});

test('an address is of the pool, or was the Service’s before, and never one that the cluster or the host needs', () => {
  eachPlan((input, plan, { nodes }) => {
    const { pool, host, site } = input;
    for (const [key, { addresses }] of plan.assignments) {
      const service = input.services.get(key)!;
      const hadAsOwn = input.records.get(service.uid)?.hostAddresses ?? [];
      for (const { ip, isHostAddress } of addresses) {
        const isInPool = pool.ranges.some((range) => rangeContains(range, ip));
        expect(isHostAddress).toBe(site.handsOutOwn || (!isInPool && hadAsOwn.includes(ip.text)));
        expect(isInPool || (hasOnRecord(input, service, ip) && mayOutlivePool(input, service, ip))).toBe(true);
        expect(pool.excluded.has(ip.text)).toBe(false);
        if (!isInPool) continue;
        expect(host.needs.has(ip.text)).toBe(false);
        expect(nodes.some((node) => node.allAddresses.some(({ text }) => text === ip.text))).toBe(false);
      }
      const families = addresses.map(({ ip }) => ip.family);
      expect(families).toEqual(service.spec.ipFamilies.filter((family) => families.includes(family)));
    }
  });
});

test('a port is served if it has a nodePort; by direct, on request or where nothing is against it, also without one', () => {
  eachPlan(({ services, site }, plan) => {
    for (const { key, spec } of services.values()) {
      const mayMove = !site.handsOutOwn && requestedDataplane(spec) === undefined && !asksForHaproxy(spec);
      const isServable = ({ nodePort }: ServicePort): boolean =>
        nodePort !== 0 || spec.dataplane === 'direct' || mayMove;
      const { addresses, refused } = plan.assignments.get(key)!;
      expect(refused.map(({ port }) => port)).toEqual(spec.ports.filter((port) => !isServable(port)));
      for (const { served, unserved } of addresses)
        expect(new Set([...served, ...unserved.map(({ port }) => port)])).toEqual(
          new Set(spec.ports.filter(isServable)),
        );
    }
  });
});

test('the host keeps its ports, but a program takes none from a Service that had it first', () => {
  eachPlan((input, plan) => {
    const { host, site, records } = input;
    for (const { service, ip, protocol, port, listener } of servedBy(input, plan)) {
      if (!site.handsOutOwn && !host.ownAddresses.some(({ text }) => text === ip.text)) continue;
      expect(site.reservedPorts.has(port)).toBe(false);
      const isInTheWay = host.listening.some(
        (socket) =>
          socket.protocol === protocol &&
          socket.port === port &&
          (socket.address?.text ?? ip.text) === ip.text &&
          socket.family >= ip.family,
      );
      if (!isInTheWay && host.listeningTrouble === undefined) continue;
      expect(records.get(service.uid)?.listeners).toContain(listener);
    }
  });
});

test('a Service keeps an address and listeners that it may have, unless it requests another address', () => {
  eachPlan((input, plan) => {
    const { services, records, pool, host, site } = input;
    for (const service of services.values()) {
      const record = records.get(service.uid);
      const request = decodeAddressRequest(service.spec);
      const { servable } = decodePorts(service.spec, site);
      for (const ip of record?.addresses ?? []) {
        if (servable.length === 0 || !service.spec.ipFamilies.includes(ip.family) || pool.excluded.has(ip.text))
          continue;
        if (!mayOutlivePool(input, service, ip) && !pool.ranges.some((range) => rangeContains(range, ip))) continue;
        if (request.ok && request.addresses.some(({ family }) => family === ip.family)) continue;
        if (![undefined, rangeOf(input, ip)?.name].includes(requestedPool(input, service))) continue;
        const kept = plan.assignments.get(service.key)?.addresses.find((each) => each.ip.text === ip.text);
        expect(kept).toBeDefined();
        const isOwn = site.handsOutOwn || host.ownAddresses.some(({ text }) => text === ip.text);
        // On an address of the host no port is served that has no nodePort.
        const { servable: reachable } = decodePorts(service.spec, { handsOutOwn: kept?.isHostAddress === true });
        for (const port of reachable) {
          const listener = listenerKey(ip, port.port, port.protocol);
          const isClaimed = [...services.values()].some(
            ({ uid }) => uid !== service.uid && records.get(uid)?.listeners.includes(listener),
          );
          const isReserved = isOwn && site.reservedPorts.has(port.port);
          if (isClaimed || isReserved || !record?.listeners.includes(listener)) continue;
          expect(kept?.served).toContain(port);
        }
      }
    }
  });
});

test('a Service that requires two families and has no address gets both or none', () => {
  eachPlan(({ services, records }, plan) => {
    for (const { key, uid, spec } of services.values()) {
      if (!spec.requireDualStack || (records.get(uid)?.addresses ?? []).length > 0) continue;
      expect([0, spec.ipFamilies.length]).toContain(plan.assignments.get(key)?.addresses.length);
    }
  });
});

test('a plan is pure: the same input gives the same plan in any order of Services, and its records change nothing', () => {
  eachPlan((input, plan) => {
    deepFreeze([...input.services.values()]);
    deepFreeze([...input.records.values()]);
    const reversed = PersistentMap.from([...input.services].toReversed());
    expect(planOnce({ ...input, services: reversed })).toEqual(plan);
    const again = planOnce({ ...input, records: plan.records });
    expect([...again.records.values()]).toEqual([...plan.records.values()]);
    for (const [key, { addresses }] of plan.assignments)
      expect(again.assignments.get(key)).toMatchObject({ addresses });
  });
});

test('whether a node takes connections does not matter for addresses', () => {
  fc.assert(
    fc.property(anyWorld, fc.constantFrom(undefined, 'deleted' as const, 'label' as const), (world, excluded) => {
      const nodes = world.nodes.map((node) => ({ ...node, excluded }));
      const [plan, other] = [world, { ...world, nodes }].map((each) => planOnce(inputOf(each, noRecords)));
      expect(other).toEqual(plan);
    }),
    { numRuns: 300 },
  );
});

function deepFreeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const part of Object.values(value)) deepFreeze(part);
}
