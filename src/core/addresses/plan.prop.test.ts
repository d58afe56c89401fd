import fc from 'fast-check';
import { expect, test } from 'vitest';
import { planInput, planOnce } from '../../../test/make/address-plan.ts';
import {
  anyHistory,
  anyServices,
  anyWorld,
  crowdedHistory,
  inputOf,
  type World,
} from '../../../test/make/address-world.ts';
import { makeService, tcp } from '../../../test/make/service.ts';
import { rangeContains } from '../ip/range.ts';
import type { Ip } from '../ip/ip.ts';
import type { ListenerKey, ServiceUid } from '../model/names.ts';
import type { Service, ServicePort } from '../model/service.ts';
import type { SiteRange } from '../model/site.ts';
import { PersistentMap } from '../persistent-map.ts';
import { listenerKey } from '../traffic/table.ts';
import type { AddressRecord } from './assignment.ts';
import { type AddressInput, type AddressPlan, makeAddressPlanner } from './plan.ts';
import { decodeAddressRequest, decodePorts } from './request.ts';

const noRecords = PersistentMap.empty<ServiceUid, AddressRecord>();

/** Calls `check` with each plan of a history, each made with the records of the one before. */
function eachPlan(
  check: (input: AddressInput, plan: AddressPlan, world: World) => void,
  numRuns: number = 1_000,
): void {
  fc.assert(
    fc.property(fc.oneof(anyHistory, crowdedHistory), (history) => {
      let records = PersistentMap.from(history.records.map((record) => [record.uid, record]));
      for (const world of history.worlds) {
        const input = inputOf(world, records);
        const plan = planOnce(input);
        check(input, plan, world);
        ({ records } = plan);
      }
    }),
    { numRuns },
  );
}

type Served = Pick<ServicePort, 'protocol' | 'port'> & {
  readonly service: Service;
  readonly ip: Ip;
  readonly listener: ListenerKey;
};

function servedBy({ services }: AddressInput, plan: AddressPlan): readonly Served[] {
  return [...services.values()].flatMap((service) =>
    (plan.assignments.get(service.key)?.addresses ?? []).flatMap(({ ip, served }) =>
      served.map(({ port, protocol }) => ({ service, ip, protocol, port, listener: listenerKey(ip, port, protocol) })),
    ),
  );
}

function hasOnRecord({ records }: AddressInput, service: Service, ip: Ip): boolean {
  return records.get(service.uid)?.addresses.some(({ text }) => text === ip.text) ?? false;
}

/** Whether a Service keeps a recorded address that the pool lacks: the host's own only until there is another one. */
function mayOutlivePool({ site, pool }: AddressInput, { family }: Ip): boolean {
  return !site.handsOutOwn || !pool.ranges.some((range) => range.family === family);
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
    for (const [key, { addresses, isHostAddress }] of plan.assignments) {
      const service = input.services.get(key)!;
      expect(isHostAddress).toBe(site.handsOutOwn);
      for (const { ip } of addresses) {
        const isInPool = pool.ranges.some((range) => rangeContains(range, ip));
        expect(isInPool || (hasOnRecord(input, service, ip) && mayOutlivePool(input, ip))).toBe(true);
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
        const isOfPool = poolOf(input, service) === rangeOf(input, ip)?.name;
        expect(
          isOfPool || hasOnRecord(input, service, ip) || wanted.has(ip.text) || sharesByKey(input, plan, service, ip),
        ).toBe(true);
      }
    }
  });
});

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

function rangeOf({ pool }: AddressInput, ip: Ip): SiteRange | undefined {
  return pool.ranges.find((range) => rangeContains(range, ip));
}

/** The named pool that the Service requests. */
function poolOf({ site }: AddressInput, { spec }: Service): string | undefined {
  const [, name] = spec.poolAnnotations[0] ?? [];
  return site.ranges.find((range) => range.name === name && name !== undefined)?.name;
}

test('a Service that requests a pool by its name has only addresses of it, or keeps what it had', () => {
  eachPlan((input, plan) => {
    for (const service of input.services.values()) {
      const pool = poolOf(input, service);
      if (pool === undefined) continue;
      for (const { ip } of plan.assignments.get(service.key)?.addresses ?? [])
        expect(rangeOf(input, ip)?.name === pool || hasOnRecord(input, service, ip)).toBe(true);
    }
  });
});

/** Whether the Service could serve every one of its ports there; by the plan alone, whatever the allocation thinks. */
function couldServe(input: AddressInput, plan: AddressPlan, { key, namespace, spec }: Service, ip: Ip): boolean {
  const there = servedBy(input, plan).filter((each) => each.ip.text === ip.text && each.service.key !== key);
  const ports = new Set(decodePorts(spec).servable.map(({ port, protocol }) => listenerKey(ip, port, protocol)));
  return (
    rangeOf(input, ip) !== undefined &&
    [undefined, rangeOf(input, ip)?.name].includes(poolOf(input, { spec } as Service)) &&
    there.every(
      ({ listener, service: { spec: other, namespace: home } }) =>
        !ports.has(listener) &&
        (home === namespace || (spec.sharingKey !== undefined && other.sharingKey === spec.sharingKey)),
    )
  );
}

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

test('a port is served if it has a nodePort; with the annotation direct, also if it is TCP or UDP', () => {
  eachPlan(({ services }, plan) => {
    for (const { key, spec } of services.values()) {
      const isServable = ({ protocol, nodePort }: ServicePort): boolean =>
        nodePort !== 0 || (spec.dataplane === 'direct' && protocol !== 'SCTP');
      const { addresses, refused } = plan.assignments.get(key)!;
      expect(refused.map(({ port }) => port)).toEqual(spec.ports.filter((port) => !isServable(port)));
      for (const { served, taken } of addresses)
        expect(new Set([...served, ...taken.map(({ port }) => port)])).toEqual(new Set(spec.ports.filter(isServable)));
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
      if (!isInTheWay) continue;
      expect(records.get(service.uid)?.listeners).toContain(listener);
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

test('a Service keeps an address and listeners that it may have, unless it requests another address', () => {
  eachPlan((input, plan) => {
    const { services, records, pool, host, site } = input;
    for (const service of services.values()) {
      const record = records.get(service.uid);
      const request = decodeAddressRequest(service.spec);
      const { servable } = decodePorts(service.spec);
      for (const ip of record?.addresses ?? []) {
        if (servable.length === 0 || !service.spec.ipFamilies.includes(ip.family) || pool.excluded.has(ip.text))
          continue;
        if (!mayOutlivePool(input, ip) && !pool.ranges.some((range) => rangeContains(range, ip))) continue;
        if (request.ok && request.addresses.some(({ family }) => family === ip.family)) continue;
        if (![undefined, rangeOf(input, ip)?.name].includes(poolOf(input, service))) continue;
        const kept = plan.assignments.get(service.key)?.addresses.find((each) => each.ip.text === ip.text);
        expect(kept).toBeDefined();
        const isOwn = site.handsOutOwn || host.ownAddresses.some(({ text }) => text === ip.text);
        for (const port of servable) {
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

test('a planner that remembers its last plan decides as one that remembers nothing', () => {
  fc.assert(
    fc.property(fc.oneof(anyHistory, crowdedHistory), anyServices, fc.nat(7), ({ worlds }, shown, forgotten) => {
      const planner = makeAddressPlanner();
      let records = noRecords;
      let before: AddressInput | undefined;
      const compare = (input: AddressInput): void => {
        const plan = planner(input);
        const anew = planOnce(input);
        expect([...plan.assignments]).toEqual([...anew.assignments]);
        expect([...plan.records]).toEqual([...anew.records]);
        ({ records } = plan);
        before = input;
      };
      for (const world of worlds) {
        const { site, host, pool, ...rest } = inputOf(world, records);
        // As in the controller, a site that is the same is the same object, and so is a pool.
        const isSame = before !== undefined && before.site === site;
        const last = isSame ? before : undefined;
        const samePool = last !== undefined && JSON.stringify(textOf(last.pool)) === JSON.stringify(textOf(pool));
        compare({ ...rest, site, host, pool: samePool ? last.pool : pool });
        compare({ ...before!, records });
        compare({ ...before!, host: { ...host, listening: [] } });
        // Statuses change, and a record is lost.
        const services = before!.services.with(
          shown.flatMap(({ key, status }) => {
            const service = before!.services.get(key);
            return service === undefined ? [] : [[key, { ...service, status }] as const];
          }),
        );
        compare({ ...before!, services, records: records.with([[`uid-s${forgotten}` as ServiceUid, undefined]]) });
      }
    }),
    { numRuns: 500 },
  );
});

function textOf({ ranges, excluded }: AddressInput['pool']): unknown {
  return [ranges.map(({ family, first, last }) => `${family} ${first} ${last}`), [...excluded]];
}

function deepFreeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const part of Object.values(value)) deepFreeze(part);
}

test('a change among thousands of Services leaves the decisions about the others the same objects', () => {
  const services = Array.from({ length: 2_000 }, (_, index) => makeService(`s${index}`, { ports: [tcp(80)] }));
  const planner = makeAddressPlanner();
  const input = planInput(services, ['10.0.0.0/20']);
  const first = planner(input);
  const changedOne = makeService('s77', { ports: [tcp(81)] });
  const next = planner({
    ...input,
    records: first.records,
    services: input.services.with([[changedOne.key, changedOne]]),
  });
  expect(PersistentMap.changedKeys(first.assignments, next.assignments)).toEqual([changedOne.key]);
  expect(PersistentMap.changedKeys(first.records, next.records)).toEqual([changedOne.uid]);
});
