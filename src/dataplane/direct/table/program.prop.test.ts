import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { directListener, localListener, localTable, node } from '../../../../test/make/table.ts';
import type { ListenerKey } from '../../../core/model/names.ts';
import type { TrafficTable } from '../../../core/traffic/table.ts';
import { type DirectProgram, groupKey, makeDirectPlanner, type ProgramInput } from './program.ts';

const names = ['n1', 'n2', 'n3'] as const;
const nodes = names.map((name, index) => node(name, `192.0.2.${11 + index}`, `2001:db8::${11 + index}`));
const addresses = ['203.0.113.1', '203.0.113.2', '2001:db8:f::1'] as const;

const someNodes = fc.subarray([...names]);
type World = {
  /** Those with nodes of their own have their endpoints here. */
  readonly listeners: readonly ShownListener[];
  readonly drained: readonly string[];
  readonly silent: readonly string[];
  readonly lost: readonly string[];
  readonly offLink: readonly string[];
  /** Closed for listeners at port 1. */
  readonly closed: readonly string[];
  /** Of n1, among all nodes. */
  readonly weight: number;
};
type ShownListener = {
  readonly address: (typeof addresses)[number];
  readonly port: number;
  readonly isLocal: boolean;
  readonly service: string;
  readonly endpoints: readonly string[];
  readonly dataplane: 'direct' | 'haproxy';
  readonly isPublished: boolean;
};

const oneListener = fc.record<ShownListener>({
  address: fc.constantFrom(...addresses),
  port: fc.integer({ min: 1, max: 2 }),
  isLocal: fc.boolean(),
  service: fc.constantFrom('test/a', 'test/b'),
  endpoints: someNodes,
  dataplane: fc.constantFrom('direct', 'direct', 'haproxy'),
  isPublished: fc.constantFrom(true, true, false),
});
/** One thing changes at a time. */
const step: fc.Arbitrary<Partial<World>> = fc.oneof(
  fc.record({ listeners: fc.array(oneListener, { maxLength: 4 }) }),
  fc.record({ drained: someNodes }),
  fc.record({ silent: someNodes }),
  fc.record({ lost: someNodes }),
  fc.record({ offLink: someNodes }),
  fc.record({ closed: someNodes }),
  fc.record({ weight: fc.integer({ min: 1, max: 3 }) }),
  fc.constant({}),
);
const start: World = { listeners: [], drained: [], silent: [], lost: [], offLink: [], closed: [], weight: 1 };

/** A later table shares what is the same with the one before, as those of the planner of traffic do. */
function tableOf({ listeners, drained, weight }: World, before: TrafficTable | undefined): TrafficTable {
  const stated = nodes.map((each) => ({
    ...each,
    state: drained.includes(each.name) ? ('drain' as const) : ('active' as const),
  }));
  const all = localTable(
    listeners.map(({ address, port, isLocal, service, endpoints, dataplane, isPublished }) => {
      const listener = isLocal ? localListener(address, port, 0, service) : directListener(address, port);
      const own = directListener(address, port, {
        ...listener,
        service: service as never,
        uid: service as never,
        dataplane,
        isPublished,
      });
      return [
        own,
        Object.fromEntries((isLocal ? endpoints : names).map((name) => [name, !isLocal && name === 'n1' ? weight : 1])),
      ] as const;
    }),
    stated,
  );
  // Without endpoints a backend is not known yet: the nodes serve instead.
  const unknown = listeners.filter(({ isLocal, endpoints }) => isLocal && endpoints.length === 0);
  const ids = unknown.map(({ address, service }) => localListener(address, 1, 0, service).backend);
  const made = { ...all, backends: all.backends.with(ids.map((id) => [id, undefined])) };
  if (before === undefined) return made;
  const merge = <K extends string, V>(old: ReadonlyMap<K, V>, now: ReadonlyMap<K, V>): readonly [K, V | undefined][] =>
    [...new Set([...old.keys(), ...now.keys()])]
      .filter((key) => !isDeepStrictEqual(old.get(key), now.get(key)))
      .map((key) => [key, now.get(key)]);
  return {
    ...made,
    nodes: isDeepStrictEqual(before.nodes, made.nodes) ? before.nodes : made.nodes,
    listeners: before.listeners.with(merge(before.listeners, made.listeners)),
    backends: before.backends.with(merge(before.backends, made.backends)),
  };
}

/** The node of each slot of each listener, and the listeners that have a number. */
function shown({ groups, ids, hops, keepers, slots }: DirectProgram): unknown {
  const nodeOf = new Map(Array.from(hops.values(), ({ mark, address }) => [mark, address.text]));
  const numbers = new Set(ids.values());
  expect(numbers.size).toBe(ids.size);
  const used = new Set(groups.values());
  for (const group of used) expect(slots.get(groupKey(group))).toBe(group);
  expect(Array.from(slots, ([key, group]) => groupKey(group) === key)).not.toContain(false);
  const text = (key: ListenerKey): string =>
    groups
      .get(key)
      ?.marks.map((mark) => nodeOf.get(mark))
      .join() ?? '-';
  const kept = (key: ListenerKey): unknown => keepers.get(key)?.map((mark) => nodeOf.get(mark) ?? '?');
  return new Map(Array.from(ids.keys(), (key) => [key, [text(key), kept(key)]]));
}

test('a planner that plans only what changed plans the same as one that plans all', () => {
  fc.assert(
    fc.property(
      fc.array(oneListener, { minLength: 1, maxLength: 4 }),
      fc.array(step, { maxLength: 8 }),
      (listeners, steps) => {
        const [remembers, plansAll] = [makeDirectPlanner(), makeDirectPlanner()];
        const world: World = { ...start, listeners };
        let table: TrafficTable | undefined;
        let isOpen: ProgramInput['isOpen'] | undefined;
        let openings = {};
        for (const change of [{}, ...steps]) {
          const hasClosed = change.closed?.some((name) => !world.closed.includes(name)) === true;
          Object.assign(world, change);
          table = tableOf(world, table);
          const { silent, lost, offLink } = world;
          const isOpenNow: ProgramInput['isOpen'] = ({ port, isPublished }, name) =>
            isPublished && (port !== 1 || !world.closed.includes(name));
          if (isOpen === undefined || hasClosed) isOpen = isOpenNow;
          if (change.closed !== undefined) openings = {};
          const input: ProgramInput = {
            table,
            verdicts: new Map(silent.map((name) => [name as never, { 4: 'silent' as const, 6: 'silent' as const }])),
            linkOf: ({ text }) => (offLink.some((name) => text.endsWith(`1${name[1]}`)) ? undefined : 'eth0'),
            isOwn: () => false,
            isLost: (name) => lost.includes(name),
            nodeMacs: new Set(),
            impossible: [],
            isOpen,
            openings,
          };
          // For this one all is different.
          plansAll({ ...input, linkOf: () => undefined });
          const again = { ...input, isOpen: isOpenNow.bind(undefined) };
          expect(shown(remembers(input))).toEqual(shown(plansAll(again)));
        }
      },
    ),
    { numRuns: 500 },
  );
});
