import fc from 'fast-check';
import { expect, test } from 'vitest';
import { natListener } from '../../../test/make/table.ts';
import type { Ip } from '../../core/ip/ip.ts';
import { ip } from '../../../test/make/service.ts';
import { type BackendId, type ListenerKey, serviceKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { Listener } from '../../core/traffic/table.ts';
import { type Keepers, makeKeepers, type Members } from './keepers.ts';

/** Per port: the Service and the backend of a listener with affinity, or none. */
type KeepersPorts = readonly (readonly [service: string, backend: string] | undefined)[];
/** Per backend: its nodes, and whether each keeps its clients. */
type BackendNodes = Readonly<Partial<Record<string, readonly (readonly [node: number, keeps: boolean])[]>>>;
type KeepersStep = { readonly ports: KeepersPorts; readonly backends: BackendNodes };

const names = ['local4:a', 'local4:b', 'nodes4'] as const;
const nodesOf = fc.uniqueArray(fc.tuple(fc.nat({ max: 3 }), fc.boolean()), {
  selector: ([node]) => node,
  maxLength: 4,
});
const step: fc.Arbitrary<KeepersStep> = fc.record({
  ports: fc.array(fc.option(fc.tuple(fc.constantFrom('a', 'b'), fc.constantFrom(...names)), { nil: undefined }), {
    minLength: 4,
    maxLength: 4,
  }),
  backends: fc.record(Object.fromEntries(names.map((name) => [name, nodesOf])), { requiredKeys: [] }),
});

function listenersOf(ports: KeepersPorts): readonly Listener[] {
  return ports.flatMap((port, index) => {
    if (port === undefined) return [];
    const [service, backend] = port;
    const more = { service: serviceKey('test', service), backend: backend as BackendId, isAffine: true };
    return natListener('203.0.113.1', 53 + index, 30_053, more);
  });
}

function inputsOf({ ports, backends }: KeepersStep): Parameters<ReturnType<typeof makeKeepers>> {
  const listeners = PersistentMap.from(listenersOf(ports).map((each) => [each.key, each] as const));
  const members = Object.entries(backends).map(([name, nodes = []]): [BackendId, Members] => {
    const addressOf = ([node]: readonly [number, boolean]): Ip => ip(`192.0.2.1${node}`);
    const keeping = nodes.filter(([, keeps]) => keeps).map(addressOf);
    return [name as BackendId, { all: nodes.map(addressOf), keeping }];
  });
  return [listeners, new Set(listeners.keys()), new Map(members)];
}

/** Without the numbers, of which a node that left has another one when it is back. */
const addresses = (keepers: Keepers): readonly unknown[] =>
  Array.from(keepers, ([key, each]) => [key, each.map(({ address }) => address.text)]);

test('from call to call they are those of a new planner', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 6 }), (steps) => {
      const keepersOf = makeKeepers();
      for (const each of steps) {
        const keepers = keepersOf(...inputsOf(each));
        expect(addresses(keepers)).toEqual(addresses(makeKeepers()(...inputsOf(each))));
        const numbers = [...keepers.values()].flatMap((nodes) => nodes.map(({ number }) => number));
        expect(new Set(numbers).size).toBe(numbers.length);
      }
    }),
  );
});

test('a change of one listener leaves those of the others the same objects', () => {
  const backends = {
    nodes4: [
      [1, true],
      [2, true],
    ],
  } as const;
  const keepersOf = makeKeepers();
  const before = keepersOf(
    ...inputsOf({
      ports: [
        ['a', 'nodes4'],
        ['b', 'nodes4'],
      ],
      backends,
    }),
  );
  const after = keepersOf(...inputsOf({ ports: [['a', 'nodes4'], undefined, ['b', 'nodes4']], backends }));
  const key = (port: number) => `203.0.113.1|${port}|UDP` as ListenerKey;
  expect(after.get(key(53))).toBe(before.get(key(53)));
  expect([after.has(key(54)), after.get(key(55))?.length]).toEqual([false, 2]);
});
