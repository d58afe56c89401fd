import { expect, test } from 'vitest';
import { byKey, ip, makeNode, makeService, makeSite, poolOf } from '../../test/make/service.ts';
import { tableOf } from '../../test/make/table.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { untilAborted } from '../async/abort.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import type { Eligibility } from '../core/addresses/eligibility.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { Node } from '../core/model/node.ts';
import type { Service } from '../core/model/service.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Reason } from '../core/reasons.ts';
import type { Plan } from './controller.ts';
import type { EventFacts } from '../kube/event-object.ts';
import { makeStore } from '../kube/store.ts';
import { recordDecision, reportNodes } from './record-events.ts';

type Facts = {
  readonly reason?: Reason;
  readonly eligibility?: Eligibility;
  readonly disowned?: readonly string[];
  readonly keepsStatus?: boolean;
};

/** A plan for Services `s0`, `s1` and so on. */
function planOf(facts: readonly Facts[], excluded: ReadonlyMap<string, string> = new Map()): Plan {
  const services = facts.map((_, index) =>
    makeService(`s${index}`, {}, { status: { ingress: [], ingressManager: 'kubectl' } }),
  );
  const forEach = <T>(make: (fact: Facts) => T): PersistentMap<ServiceKey, T> =>
    PersistentMap.from(services.map(({ key }, index): [ServiceKey, T] => [key, make(facts[index] ?? {})]));
  return {
    services: byKey(services),
    ours: PersistentMap.empty<ServiceKey, Service>(),
    eligibility: forEach(({ eligibility = 'ours' }) => eligibility),
    assignments: forEach(({ reason = 'Assigned', disowned = [], keepsStatus = false }): Assignment => ({
      addresses: reason === 'Assigned' ? [{ ip: ip('192.0.2.8'), isHostAddress: false, served: [], unserved: [] }] : [],
      verdict: { reason, message: `because of ${reason}` },
      refused: [],
      disowned,
      keepsStatus,
      waitsForHost: false,
    })),
    records: PersistentMap.empty(),
    pool: { ...poolOf(makeSite(['192.0.2.8'])), excluded },
    table: tableOf([]),
    overBudget: new Set(),
    overProfiles: new Map(),
    overServers: new Map(),
    podPlace: { routed: [], reserved: new Map(), pool: [], zone: undefined, drained: new Set() },
    nodeTrouble: { 4: undefined, 6: undefined },
  };
}

/** The lines of the change, without those for debugging, and the number of its events. */
function record(before: Plan | undefined, next: Plan): { readonly lines: readonly string[]; readonly events: number } {
  const log = recordLog();
  let events = 0;
  recordDecision(before, next, log, () => events++);
  const shown = log.lines.filter(({ level }) => level !== 'debug');
  return {
    lines: shown.map(({ level, fields, message }) => `${level} ${message} ${JSON.stringify(fields)}`),
    events,
  };
}

const many = <T>(count: number, fact: T): readonly T[] => Array.from({ length: count }, () => fact);
const conflict: Facts = { reason: 'PortConflict' };
const exhausted: Facts = { reason: 'PoolExhausted' };

test('the first plan is a line for the Services with an address, and one with the reasons of the others', () => {
  const { lines } = record(undefined, planOf([{}, {}, conflict, exhausted, exhausted]));
  expect(lines).toEqual([
    'warn Services without the address that they want {"services":3,"PortConflict":1,"PoolExhausted":2}',
    'info addresses assigned {"services":2}',
  ]);
});

test('the first plan without Services logs nothing', () => {
  expect(record(undefined, planOf([])).lines).toEqual([]);
});

test('a later change of a few Services is a line for each', () => {
  expect(record(planOf([]), planOf([{}, conflict])).lines).toEqual([
    'warn because of PortConflict {"service":"default/s1","reason":"PortConflict"}',
    'info because of Assigned {"service":"default/s0","reason":"Assigned","addresses":["192.0.2.8"]}',
  ]);
});

const excluded = new Map(Array.from({ length: 21 }, (_, index) => [`192.0.2.${index}`, 'address of a node']));

test.each<[what: string, next: Plan, line: string, events: number]>([
  ['get an address', planOf(many(21, {})), 'info addresses assigned {"services":21}', 0],
  [
    'are pending',
    planOf(many(21, conflict)),
    'warn Services without the address that they want {"services":21,"PortConflict":21}',
    0,
  ],
  ['leave', planOf(many(21, { eligibility: 'leaving' })), 'info releasing Services {"services":21}', 0],
  [
    'belong to another implementation',
    planOf(many(21, { eligibility: 'occupied' })),
    'warn Services that another implementation serves: left alone {"services":21}',
    21,
  ],
  [
    'show an address outside the pool',
    planOf(many(21, { disowned: ['203.0.113.1'] })),
    'warn addresses in statuses are outside the pool; ignored {"addresses":21}',
    21,
  ],
  ['have their addresses excluded', planOf([], excluded), 'warn addresses excluded from the pool {"addresses":21}', 0],
])('more than 20 Services that %s at once are one line, and keep their events', (_, next, line, events) => {
  const recorded = record(planOf([]), next);
  expect(recorded.lines).toContain(line);
  expect(recorded.lines.length).toBeLessThan(3);
  expect(recorded.events).toBe(events);
});

test('Services whose status furiwake keeps are one error, without a line or event for each', () => {
  const kept: Facts = { reason: 'AddressNotInPool', keepsStatus: true, disowned: ['192.0.2.200'] };
  expect(record(undefined, planOf([kept, kept]))).toEqual({
    lines: [expect.stringMatching(/^error Services show addresses .* \{"services":2\}$/)],
    events: 0,
  });
});

test('a node without an address gets an event, and one with an address none', async () => {
  const nodes = makeStore<Node>({ keyOf: ({ name }) => name });
  const told: string[] = [];
  const events = { record: ({ regarding, reason }: EventFacts) => void told.push(`${regarding.name} ${reason}`) };
  const stop = new AbortController();
  const reported = reportNodes(nodes, { ...events, run: untilAborted }, stop.signal);
  nodes.feed({ type: 'apply', key: 'n1', object: makeNode('n1'), version: '1' });
  nodes.feed({ type: 'apply', key: 'n2', object: makeNode('n2', '192.0.2.12'), version: '2' });
  expect(told).toEqual(['n1 NodeWithoutAddress']);
  stop.abort();
  await reported.catch(() => undefined);
});
