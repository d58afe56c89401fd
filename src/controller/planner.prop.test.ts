import fc from 'fast-check';
import { expect, test } from 'vitest';
import { anyHistory, type World } from '../../test/make/address-world.ts';
import { noRecords } from '../../test/make/each-plan.ts';
import { byKey } from '../../test/make/service.ts';
import { eligibilityOf } from '../core/addresses/eligibility.ts';
import { fieldManager } from '../core/model/contract.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { Service } from '../core/model/service.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { share } from '../core/share.ts';
import { listenerKey } from '../core/traffic/table.ts';
import { type AddressDecision, makePlanner, type Snapshot } from './planner.ts';

/** Whose a Service is: what its user, an administrator or another implementation changes about it. */
const anyFate = fc.record({
  type: fc.constantFrom('LoadBalancer', 'LoadBalancer', 'LoadBalancer', 'ClusterIP'),
  loadBalancerClass: fc.constantFrom(undefined, undefined, 'furiwake.dev/haproxy', 'example.com/other'),
  wantsNone: fc.nat(7).map((number) => number === 0),
  isDeleting: fc.nat(5).map((number) => number === 0),
  isRecordLost: fc.nat(9).map((number) => number === 0),
});
type ServiceFate = typeof anyFate extends fc.Arbitrary<infer Value> ? Value : never;

/** By the number of the Service, for one world after the other. */
const anyFates = fc.array(fc.array(anyFate, { minLength: 8, maxLength: 8 }), { minLength: 1, maxLength: 5 });

function withFate(service: Service, fates: readonly ServiceFate[]): Service {
  const { type, loadBalancerClass, wantsNone, isDeleting } = fates[Number(service.name.slice(1))]!;
  return { ...service, isDeleting, spec: { ...service.spec, type, loadBalancerClass, wantsNone } };
}

/** Calls `check` with each decision of a planner that remembers, as in the controller; the records are those of the decision before. */
function eachDecision(check: (snapshot: Snapshot, decision: AddressDecision) => void): void {
  fc.assert(
    fc.property(anyHistory, anyFates, ({ worlds }, allFates) => {
      const plan = makePlanner();
      const { site } = worlds[0]!; // a planner has one site
      let services = PersistentMap.empty<ServiceKey, Service>();
      let nodes = PersistentMap.from([...worlds[0]!.nodes].map((node) => [node.name, node]));
      let records = noRecords;
      const decide = (world: World, fates: readonly ServiceFate[]): void => {
        const present = byKey(world.services.map((service) => withFate(service, fates)));
        // As in a store: a Service that stays the same is the same object.
        services = services.with([
          ...[...services.keys()].map((key) => [key, undefined] as const),
          ...Array.from(present, ([key, service]) => [key, share(services.get(key), service)] as const),
        ]);
        nodes = PersistentMap.from(world.nodes.map((node) => [node.name, node]));
        const lost = world.services.filter(({ name }) => fates[Number(name.slice(1))]!.isRecordLost);
        records = records.with(lost.map(({ uid }) => [uid, undefined] as const));
        const snapshot: Snapshot = { site, services, nodes, records, host: world.host };
        const decision = plan(snapshot);
        check(snapshot, decision);
        ({ records } = decision);
      };
      for (const world of worlds) for (const fates of allFates) decide(world, fates);
    }),
    { numRuns: 150 },
  );
}

test('a planner that remembers its last decision decides as one that remembers nothing', () => {
  eachDecision((snapshot, decision) => {
    const anew = makePlanner()(snapshot);
    for (const part of ['eligibility', 'ours', 'assignments', 'records'] as const)
      expect([...decision[part]]).toEqual([...anew[part]]);
    expect(decision.pool).toEqual(anew.pool);
  });
});

test('only Services that are ours have addresses and listeners, and no listener is that of two', () => {
  eachDecision(({ services, records, site }, decision) => {
    const listeners: string[] = [];
    for (const [key, { addresses }] of decision.assignments) {
      const service = services.get(key)!;
      expect(eligibilityOf(service, site, records.has(service.uid))).toBe('ours');
      for (const { ip, served } of addresses)
        listeners.push(...served.map(({ port, protocol }) => listenerKey(ip, port, protocol)));
    }
    expect(new Set(listeners).size).toBe(listeners.length);
    const released = [...decision.records.values()].filter(({ service }) => !decision.assignments.has(service));
    for (const { addresses } of released) expect(addresses).toEqual([]);
  });
});

test('a Service gets no address that the status of a Service of another implementation shows', () => {
  eachDecision(({ services, records, site }, decision) => {
    if (site.handsOutOwn) return;
    const ingressOf = ({ status }: Service): readonly string[] => status.ingress.flatMap(({ ip }) => ip ?? []);
    const others = [...services.values()].filter(
      ({ key, spec, status }) =>
        !decision.ours.has(key) &&
        decision.eligibility.get(key) !== 'leaving' &&
        spec.type === 'LoadBalancer' &&
        status.ingressManager !== fieldManager,
    );
    const foreign = new Set(others.flatMap(ingressOf));
    const held = new Set([
      ...[...records.values()].flatMap(({ addresses }) => addresses.map(({ text }) => text)),
      ...[...decision.ours.values()].flatMap(ingressOf),
    ]);
    const taken = [...decision.assignments.values()].flatMap(({ addresses }) => addresses.map(({ ip }) => ip.text));
    expect(taken.filter((text) => foreign.has(text) && !held.has(text))).toEqual([]);
  });
});
