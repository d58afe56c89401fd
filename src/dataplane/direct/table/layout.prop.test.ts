import fc from 'fast-check';
import { expect, test } from 'vitest';
import { changesThrough } from '../../../../test/make/layout-changes.ts';
import {
  addressOf,
  directListener,
  localListener,
  localTable,
  node,
  type Weights,
} from '../../../../test/make/table.ts';
import { parseRange } from '../../../core/ip/range.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import type { NodeHealth } from '../../../core/traffic/report.ts';
import { changeOf, differenceTo, emptyMirror } from '../../nftables/mirror.ts';
import { noLists } from '../../nftables/range-lists.ts';
import { directLayout } from './layout.ts';
import { type DirectProgram, groupKey, makeDirectPlanner } from './program.ts';

const names = ['n1', 'n2', 'n3'];
const ranges = ['10.0.0.0/8', '192.0.2.0/24'].flatMap((text) => parseRange(text) ?? []);

const input = fc.record({
  /** Those of the program before. */
  hasSameListeners: fc.boolean(),
  listeners: fc.uniqueArray(
    fc.record({
      address: fc.constantFrom('203.0.113.1', '203.0.113.2', '2001:db8:f::1'),
      port: fc.integer({ min: 1, max: 3 }),
      protocol: fc.constantFrom('TCP' as const, 'UDP' as const),
      service: fc.string(),
      isRestricted: fc.boolean(),
    }),
    { selector: ({ address, port, protocol }) => `${address} ${port} ${protocol}`, maxLength: 6 },
  ),
  verdicts: fc.dictionary(fc.constantFrom(...names), fc.constantFrom<NodeHealth>('up', 'silent')),
  drained: fc.subarray(names),
  closed: fc.subarray(names),
  /** The nodes of a Service that has some of its own; the listeners on port 3 are its. */
  weights: fc.dictionary(fc.constantFrom(...names), fc.integer({ min: 1, max: 3 })),
  /** By port: which clients HAProxy holds; `undefined`: not known. */
  clients: fc.array(fc.option(fc.uniqueArray(fc.integer({ min: 1, max: 3 })), { nil: undefined }), { maxLength: 4 }),
  /** The listeners on this port wait for their first node. */
  waitingPort: fc.nat(4),
  /** Those on this port another Service had; those on this one leave the nodes that they had. */
  handedPort: fc.nat(4),
  partingPort: fc.nat(4),
});

/** The programs of one process, one after the other. */
const programs = fc.array(input, { maxLength: 5 }).map((inputs): readonly DirectProgram[] => {
  const plan = makeDirectPlanner();
  let before: DirectProgram['groups'] | undefined;
  let listeners = inputs[0]?.listeners ?? [];
  return inputs.map((each) => {
    if (!each.hasSameListeners) ({ listeners } = each);
    const { verdicts, drained, closed, weights, clients, waitingPort, handedPort, partingPort } = each;
    const nodes = names.map((name, index) => ({
      ...node(name, `192.0.2.${11 + index}`, `2001:db8::${11 + index}`),
      state: drained.includes(name) ? ('drain' as const) : ('active' as const),
    }));
    const program = plan({
      table: localTable(
        listeners.map(({ address, port, protocol, service, isRestricted }) => {
          const { backend } = port === 3 ? localListener(address, port, 0) : directListener(address, port);
          const made = directListener(address, port, {
            backend,
            protocol,
            isPublished: true,
            standIn: protocol === 'TCP' ? 'haproxy' : undefined,
            service: service as never,
            sourceRanges: isRestricted
              ? ranges.filter(({ family }) => (family === 6) === address.includes(':'))
              : undefined,
          });
          return [made, port === 3 ? weights : allOf(nodes)] as const;
        }),
        nodes,
      ),
      verdicts: new Map(Object.entries(verdicts).map(([name, state]) => [name as never, { 4: state, 6: state }])),
      linkOf: () => 'eth0',
      isOwn: () => false,
      isLost: () => false,
      nodeMacs: new Set(['02:00:00:00:00:01']),
      impossible: [],
      isOpen: (_, name) => !closed.includes(name),
      openings: {},
    });
    const shared = [...program.listeners.values()].filter(({ standIn }) => standIn !== undefined);
    const parting = shared.flatMap(({ key, port }) => {
      const group = port === partingPort && !program.groups.has(key) ? before?.get(key) : undefined;
      return group === undefined ? [] : [[key, group] as const];
    });
    before = program.groups;
    return {
      ...program,
      handed: new Set(shared.filter(({ port }) => port === handedPort).map(({ key }) => key)),
      parting: new Map(parting),
      slots: PersistentMap.from(
        [...parting.map(([, group]) => group), ...program.slots.values()].map((group) => [groupKey(group), group]),
      ),
      waiting: new Set(shared.filter(({ port }) => port === waitingPort).map(({ key }) => key)),
      shared: {
        unsorted: PersistentMap.from(
          shared.filter(({ port }) => clients[port] === undefined).map(({ key }) => [key, true]),
        ),
        held: PersistentMap.from(
          shared.map(({ key, port, address: { family } }) => [
            key,
            (clients[port] ?? []).map((host) => ({
              address: addressOf(family === 4 ? `198.51.100.${host}` : `2001:db8:1::${host}`),
              port: 40_000,
            })),
          ]),
        ),
      },
    };
  });
});

/** As in the backends of all nodes: each has addresses of both families. */
function allOf(nodes: readonly { readonly name: string }[]): Weights {
  return Object.fromEntries(nodes.map(({ name }) => [name, 1]));
}

test('changes lead from program to program, whatever is refused in between, and remove only existing elements', () => {
  fc.assert(
    fc.property(programs, fc.func(fc.boolean()), (all, accepts) => {
      for (const [found, expected] of changesThrough(directLayout, all, accepts)) expect(found).toEqual(expected);
    }),
    { numRuns: 200 },
  );
});

test('no program, whatever the names of its Services, renders anything but numbers, addresses, ranges and devices', () => {
  fc.assert(
    fc.property(programs, (all) => {
      for (const target of all)
        for (const { text } of changeOf(noLists, differenceTo(directLayout, target, emptyMirror(directLayout)).parts)
          .add)
          expect(text).toMatch(
            /^[0-9a-z:.-]+(?: [.:] [0-9a-z:.-]+)*(?: : "eth0"| : goto (?:ranged)?(?:straight|checked)[46])?$/,
          );
    }),
    { numRuns: 50 },
  );
});

test('a group with few slots is in the set of small ones, and a change of its nodes writes only the slots that differ', () => {
  const vip = '203.0.113.1';
  const own = directListener(vip, 80, { isPublished: true, backend: localListener(vip, 80, 0).backend });
  const nodes = names.map((name, index) => node(name, `192.0.2.${11 + index}`));
  const plan = makeDirectPlanner();
  const programOf = (weights: Weights): DirectProgram =>
    plan({
      table: localTable([[own, weights]], nodes),
      verdicts: new Map(),
      linkOf: () => 'eth0',
      isOwn: () => false,
      isLost: () => false,
      nodeMacs: new Set(),
      impossible: [],
      isOpen: () => true,
      openings: {},
    });
  const elements = (set: string, of: readonly { readonly set: string }[]): number =>
    of.filter((element) => element.set === set).length;
  const [before, after] = [programOf({ n1: 1, n2: 1 }), programOf({ n1: 1, n2: 1, n3: 1 })];
  expect(elements('small', directLayout.rest(before))).toBe(1);
  expect(elements('slots', directLayout.rest(before))).toBe(127);
  const { remove, add } = directLayout.restChange(before, after);
  expect(elements('slots', add)).toBe(elements('slots', remove));
  expect(elements('slots', add)).toBeLessThan(60);
  expect([elements('small', add), elements('small', remove)]).toEqual([0, 0]);
});
