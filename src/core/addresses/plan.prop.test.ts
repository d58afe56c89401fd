import fc from 'fast-check';
import { expect, test } from 'vitest';
import { byKey, makeHostFacts, makeService, makeSite, poolOf, tcp } from '../../../test/make/service.ts';
import { type ServiceKey, serviceKey, type ServiceUid } from '../model/names.ts';
import { ipOf } from '../ip/ip.ts';
import type { Service } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import { type AddressInput, type AddressPlan, makeAddressPlanner } from './plan.ts';

const address = fc.constantFrom(
  '192.0.2.1',
  '192.0.2.2',
  '192.0.2.3',
  '198.51.100.9',
  '2001:db8::1',
  'nonsense',
  undefined,
);
const shownAddress = fc.constantFrom('192.0.2.1', '192.0.2.2', '198.51.100.9', '2001:db8::1');

/** Services of two namespaces. */
const namespaceOf = (index: number): string => (index % 2 === 0 ? 'default' : 'other');
const keyOf = (index: number): ServiceKey => serviceKey(namespaceOf(index), `s${index}`);

/** Any Service, as hostile users, other controllers and time may leave it. */
const anyService = fc
  .record({
    index: fc.nat(7),
    createdAtMs: fc.nat(3),
    ports: fc.uniqueArray(fc.constantFrom(80, 443, 53), { minLength: 1 }),
    ipFamilies: fc.constantFrom<readonly (4 | 6)[]>([4], [6], [4, 6], [6, 4]),
    requireDualStack: fc.boolean(),
    loadBalancerIp: address,
    annotated: address,
    sharingKey: fc.constantFrom(undefined, 'k', 'other'),
    shown: fc.array(shownAddress, { maxLength: 2 }),
    manager: fc.constantFrom('furiwake', 'kubectl'),
  })
  .map(({ index, createdAtMs, ports, shown, manager, annotated, ...spec }): Service =>
    makeService(
      `s${index}`,
      {
        ...spec,
        addressAnnotations: annotated === undefined ? [] : [['furiwake.dev/addresses', annotated]],
        ports: ports.map((port) => tcp(port)),
      },
      {
        key: keyOf(index),
        namespace: namespaceOf(index),
        createdAtMs,
        status: {
          ingress: shown.map((ip) => ({ ip, hostname: undefined, ipMode: 'Proxy', ports: [] })),
          ingressManager: manager,
        },
      },
    ),
  );
const anyServices = fc.uniqueArray(anyService, { selector: (service) => service.uid, maxLength: 8 });
const anyPool = fc.subarray(['192.0.2.1', '192.0.2.2-192.0.2.3', '2001:db8::/126'], { minLength: 1 });

function inputOf(
  services: readonly Service[],
  pool: readonly string[],
  records: AddressPlan['records'] = PersistentMap.empty(),
): AddressInput {
  const site = makeSite(pool);
  return {
    services: byKey(services),
    records,
    site,
    host: makeHostFacts(),
    pool: poolOf(site),
  };
}

/** By a planner that knows nothing of an earlier plan. */
function planAddresses(of: AddressInput): AddressPlan {
  return makeAddressPlanner()(of);
}

/** Every listener that the plan serves, once per Service that is served on it. */
function servedListeners(plan: AddressPlan): readonly string[] {
  return [...plan.assignments.values()].flatMap(({ addresses }) =>
    addresses.flatMap(({ ip, served }) => served.map((port) => `${ip.text}|${port.port}|${port.protocol}`)),
  );
}

/** A history: the world changes step by step, each plan gets the records of the one before. */
const history = fc.array(fc.tuple(anyServices, anyPool), { minLength: 1, maxLength: 5 });

test('no two Services ever hold the same address, protocol and port', () => {
  fc.assert(
    fc.property(history, (steps) => {
      let records: AddressPlan['records'] | undefined;
      for (const [services, pool] of steps) {
        const plan = planAddresses(inputOf(services, pool, records));
        const listeners = servedListeners(plan);
        expect(new Set(listeners).size).toBe(listeners.length);
        records = plan.records;
      }
    }),
    { numRuns: 500 },
  );
});

test('Services of two namespaces share an address only with the same sharing key', () => {
  fc.assert(
    fc.property(anyServices, anyPool, (services, pool) => {
      const { assignments } = planAddresses(inputOf(services, pool));
      const sharers = services.flatMap((service) =>
        (assignments.get(service.key)?.addresses ?? [])
          .filter(({ served }) => served.length > 0)
          .map(({ ip }) => ({ address: ip.text, namespace: service.namespace, key: service.spec.sharingKey })),
      );
      const without = sharers.flatMap((one) =>
        sharers.filter(
          (other) =>
            one.address === other.address &&
            one.namespace !== other.namespace &&
            (one.key === undefined || one.key !== other.key),
        ),
      );
      expect(without).toEqual([]);
    }),
    { numRuns: 1_000 },
  );
});

test('planning again with the records of a plan changes nothing, in whatever order the Services come', () => {
  fc.assert(
    fc.property(history, (steps) => {
      let records: AddressPlan['records'] | undefined;
      for (const [services, pool] of steps) {
        const plan = planAddresses(inputOf(services, pool, records));
        const again = planAddresses(inputOf(services.toReversed(), pool, plan.records));
        for (const [key, { addresses }] of plan.assignments)
          expect(again.assignments.get(key)).toMatchObject({ addresses });
        expect(new Map(again.records)).toEqual(new Map(plan.records));
        records = plan.records;
      }
    }),
    { numRuns: 500 },
  );
});

test('a Service keeps its address and its listeners whatever the others do, unless it asks for another', () => {
  fc.assert(
    fc.property(anyServices, anyServices, anyPool, (services, others, pool) => {
      const first = planAddresses(inputOf(services, pool));
      const present = new Set(services.map((service) => service.uid));
      const next = planAddresses(
        inputOf([...services, ...others.filter((other) => !present.has(other.uid))], pool, first.records),
      );
      for (const [uid, record] of first.records) {
        const service = services.find((each) => each.uid === uid);
        if (service?.spec.loadBalancerIp !== undefined || service?.spec.addressAnnotations.length !== 0) continue;
        const kept = next.records.get(uid)!;
        expect(kept.addresses).toEqual(expect.arrayContaining([...record.addresses]));
        expect(kept.listeners).toEqual(expect.arrayContaining([...record.listeners]));
      }
    }),
    { numRuns: 500 },
  );
});

/** What changes between two plans: some Services, and the programs on the host. */
const step = fc.record({
  changed: fc.array(anyService, { maxLength: 3 }),
  removed: fc.array(fc.nat(7), { maxLength: 2 }),
  /** Another status, and nothing else. */
  shows: fc.array(fc.tuple(fc.nat(7), shownAddress), { maxLength: 2 }),
  listens: fc.boolean(),
  forgetsRecord: fc.option(fc.nat(7), { nil: undefined }),
});

function nextInput(input: AddressInput, changes: Partial<AddressInput>): AddressInput {
  return { ...input, ...changes };
}

function showing(service: Service | undefined, ip: string): (readonly [Service['key'], Service])[] {
  if (service === undefined) return [];
  const ingress = [{ ip, hostname: undefined, ipMode: 'Proxy', ports: [] }];
  return [[service.key, { ...service, status: { ...service.status, ingress } }]];
}

test('a planner that remembers its last plan decides as one that remembers nothing', () => {
  fc.assert(
    fc.property(anyServices, anyPool, fc.array(step, { maxLength: 6 }), (first, pool, steps) => {
      const remembering = makeAddressPlanner();
      const start = inputOf(first, pool);
      const ownAddresses = start.pool.ranges.map(({ family, first: value }) => ipOf(family, value));
      const silent: AddressInput['host'] = makeHostFacts({ ownAddresses });
      const listening = makeHostFacts({ ownAddresses, listening: [{ address: undefined, family: 6, port: 80 }] });
      let input: AddressInput = { ...start, host: silent, site: { ...start.site, reservedPorts: new Set([53]) } };
      let plan = remembering(input);
      for (const { changed, removed, shows, listens, forgetsRecord } of steps) {
        const services = input.services
          .with(changed.map((service) => [service.key, service]))
          .with(shows.flatMap(([index, ip]) => showing(input.services.get(keyOf(index)), ip)))
          .with(removed.map((index) => [keyOf(index), undefined]));
        input = nextInput(input, {
          services,
          records: plan.records.with(
            forgetsRecord === undefined ? [] : [[`uid-s${forgetsRecord}` as ServiceUid, undefined]],
          ),
          host: listens ? listening : silent,
        });
        plan = remembering(input);
        const anew = planAddresses(input);
        expect(new Map(plan.assignments)).toEqual(new Map(anew.assignments));
        expect(new Map(plan.records)).toEqual(new Map(anew.records));
      }
    }),
    { numRuns: 1_000 },
  );
});

test('a change among thousands of Services leaves the decisions about the others the same objects', () => {
  const services = Array.from({ length: 2_000 }, (_, index) => makeService(`s${index}`, { ports: [tcp(80)] }));
  const planner = makeAddressPlanner();
  const input = inputOf(services, ['10.0.0.0/20']);
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
