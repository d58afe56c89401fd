import fc from 'fast-check';
import { expect, test } from 'vitest';
import { byKey, makeNode, makeService, makeSite, tcp } from '../../test/make/service.ts';
import { ownFinalizer } from '../core/model/contract.ts';
import { serviceKey } from '../core/model/names.ts';
import type { Service } from '../core/model/service.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { emptyTable, type TrafficTable } from '../core/traffic/table.ts';
import { makePlanner, type Plan, type Snapshot } from './snapshot.ts';

const anyService: fc.Arbitrary<Service> = fc
  .record({
    index: fc.nat(6),
    type: fc.constantFrom('LoadBalancer', 'LoadBalancer', 'ClusterIP'),
    ports: fc.uniqueArray(fc.constantFrom(80, 443, 53), { minLength: 1 }),
    isDeleting: fc.boolean(),
    hasFinalizer: fc.boolean(),
    isRecreated: fc.boolean(),
    manager: fc.constantFrom('furiwake', 'kubectl'),
    shown: fc.array(fc.constantFrom('192.0.2.1', '192.0.2.9'), { maxLength: 1 }),
  })
  .map(({ index, type, ports, isDeleting, hasFinalizer, isRecreated, manager, shown }) =>
    makeService(
      `s${index}`,
      { type, ports: ports.map((port) => tcp(port)) },
      {
        uid: `uid-${index}-${isRecreated ? 'second' : 'first'}` as Service['uid'],
        isDeleting,
        finalizers: hasFinalizer ? [ownFinalizer] : [],
        status: {
          ingressManager: manager,
          ingress: shown.map((ip) => ({ ip, hostname: undefined, ipMode: 'Proxy', ports: [] })),
        },
      },
    ),
  );

const step = fc.record({
  changed: fc.array(anyService, { maxLength: 3 }),
  removed: fc.array(fc.nat(6), { maxLength: 2 }),
  /** Only their metadata is another. */
  touched: fc.array(fc.tuple(fc.nat(6), fc.boolean(), fc.boolean(), fc.constantFrom('first', 'second')), {
    maxLength: 2,
  }),
  /** How many plans the host is behind. */
  lag: fc.nat(2),
  nodes: fc.subarray(['192.0.2.2', '192.0.2.12']),
});

/** All that a plan says, without the objects that say it. */
function contentOf(plan: Plan): unknown {
  const { table } = plan;
  return {
    eligibility: new Map(plan.eligibility),
    assignments: new Map(plan.assignments),
    records: new Map(plan.records),
    lingering: plan.lingering,
    nodeAddresses: plan.nodeAddresses,
    rows: new Map(table.rows),
    byService: new Map(table.byService),
    hosted: new Map(table.hosted),
    nodes: table.nodes,
  };
}

test('a planner that remembers its last plan says the same as one that remembers nothing', () => {
  const site = makeSite(['192.0.2.1-192.0.2.3']);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
      const planner = makePlanner();
      const tables: TrafficTable[] = [emptyTable];
      let services = byKey([]);
      let records: Snapshot['records'] = PersistentMap.empty();
      const drained: Snapshot['drained'] = new Set();
      const host = { ownAddresses: [], listening: [] };
      for (const { changed, removed, touched, lag, nodes: addresses } of steps) {
        services = services
          .with(changed.map((service) => [service.key, service]))
          .with(
            touched.flatMap(([index, isDeleting, hasFinalizer, life]) => {
              const service = services.get(serviceKey('default', `s${index}`));
              const finalizers = hasFinalizer ? [ownFinalizer] : [];
              const uid = `uid-${index}-${life}` as Service['uid'];
              return service === undefined ? [] : [[service.key, { ...service, uid, isDeleting, finalizers }] as const];
            }),
          )
          .with(removed.map((index) => [serviceKey('default', `s${index}`), undefined]));
        const nodes = PersistentMap.from(addresses.map((ip) => makeNode(ip, ip)).map((node) => [node.name, node]));
        const mayHold = tables.at(-1 - lag) ?? emptyTable;
        const snapshot: Snapshot = { site, services, nodes, drained, records, host, mayHold };
        const plan = planner(snapshot);
        expect(contentOf(plan)).toEqual(contentOf(makePlanner()(snapshot)));
        tables.push(plan.table);
        records = plan.records;
      }
    }),
    { numRuns: 500 },
  );
});
