import fc from 'fast-check';
import { expect, test } from 'vitest';
import { localListener, localTable, node, type Weights } from '../../../../test/make/table.ts';
import type { TrafficTable } from '../../../core/traffic/table.ts';
import { serversOf } from './node-servers.ts';
import { makeHeldSpares } from './held-spares.ts';
import type { SpareName } from './pools.ts';
import type { SpareServer } from './spare-servers.ts';
import { adoptedSpares, planSpares, type Spares } from './spares.ts';

const nodes = [node('n1', '192.0.2.1', 'fd00::1'), node('n2', '192.0.2.2'), node('n3', '192.0.2.3', 'fd00::3')];
const someWeights: fc.Arbitrary<Weights> = fc.dictionary(
  fc.constantFrom('n1', 'n2', 'n3', 'n4'),
  fc.integer({ min: 1, max: 3 }),
);

/** Services `0` … `39`, the odd ones with IPv6; two listeners each. */
const someTable: fc.Arbitrary<TrafficTable> = fc
  .tuple(
    fc.uniqueArray(fc.tuple(fc.nat(39), someWeights), { selector: ([index]) => index, maxLength: 40 }),
    fc.subarray(nodes),
  )
  .map(([services, some]) =>
    localTable(
      services.flatMap(([index, weights]) =>
        [80, 81].map((port) => {
          const vip = index % 2 === 0 ? `10.0.0.${index}` : `fd01::${index}`;
          return [localListener(vip, port, 30_000, `test/s${index}`), weights] as const;
        }),
      ),
      some,
    ),
  );

const noneSilent = new Set<string>();

type Before = { readonly table: TrafficTable; readonly spares: Spares } | undefined;

function plan(table: TrafficTable, before?: Before, adopted = new Map()): Spares {
  const silent = noneSilent;
  return planSpares({ table, before: before && { ...before, silent }, servers: serversOf(table), silent, adopted });
}

function words(servers: readonly SpareServer[] | undefined): string | undefined {
  return servers?.map((server) => `${server.node} ${server.address.text} ${server.weight}`).join();
}

test('each backend in use has a spare one of its family, its own as long as it is used, filled with its servers', () => {
  fc.assert(
    fc.property(fc.array(someTable, { minLength: 1, maxLength: 6 }), (tables) => {
      let before: Before;
      for (const table of tables) {
        const spares = plan(table, before);
        const used = new Set(Array.from(table.listeners.values(), ({ backend }) => backend));
        expect(new Set(spares.names.keys())).toEqual(used);
        expect(new Set(spares.names.values()).size).toBe(used.size);
        for (const family of [4, 6] as const) {
          const mine = [...spares.names.values()].filter((name) => name.startsWith(`spare${family}`));
          expect(new Set([...mine, ...(spares.free[family] ?? [])]).size).toBe(spares.sizes[family]);
          expect(spares.sizes[family]).toBeGreaterThanOrEqual(before?.spares.sizes[family] ?? 16);
        }
        for (const [id, name] of spares.names) {
          // The map may still have the entries of a backend that is gone.
          const others = Array.from(before?.spares.names ?? []).filter(([other]) => other !== id);
          expect(others.map(([, other]) => other)).not.toContain(name);
          expect(before?.spares.names.get(id) ?? name).toBe(name);
          const { family, servers = [] } = table.backends.get(id) ?? {};
          const known = servers.flatMap((server) => {
            const address = table.nodes.get(server.node)?.addresses.find((each) => each.family === family);
            return address === undefined ? [] : `${server.node} ${address.text} ${server.weight}`;
          });
          expect(words(spares.servers.get(name))).toBe(known.join());
        }
        expect(spares.servers.size).toBe(used.size);
        before = { table, spares };
      }
    }),
  );
});

test('a plan for the same table changes nothing, and unchanged servers stay the same objects', () => {
  fc.assert(
    fc.property(someTable, (table) => {
      const first = plan(table);
      const second = plan({ ...table }, { table, spares: first });
      expect(second.servers).toBe(first.servers);
      expect(second.sizes).toBe(first.sizes);
    }),
  );
});

test('the first table takes over what a running process uses', () => {
  fc.assert(
    fc.property(fc.array(someTable, { minLength: 1, maxLength: 4 }), (tables) => {
      let before: Before;
      for (const table of tables) before = { table, spares: plan(table, before) };
      const { table, spares } = before!;
      const adopted = adoptedSpares(table, ({ backend }) => `${spares.names.get(backend) ?? ''}|30000|1|00`);
      expect(new Map(plan(table, undefined, new Map(adopted)).names)).toEqual(new Map(spares.names));
    }),
  );
});

function tableOf(...services: readonly number[]): TrafficTable {
  return localTable(
    services.map((index) => [localListener(`10.0.0.${index}`, 80, 30_000, `test/s${index}`), { n1: 1 }]),
    nodes,
  );
}

test('a spare that was released last is used last', () => {
  const [one, none, two] = [tableOf(1), tableOf(), tableOf(2)];
  const first = plan(one);
  const second = plan(none, { table: one, spares: first });
  const third = plan(two, { table: none, spares: second });
  expect([...first.names.values(), ...third.names.values()]).toEqual(['spare4-0', 'spare4-1']);
});

test('a backend without a spare in the running process takes none that another one has there', () => {
  const table = tableOf(1, 2, 3, 4);
  for (const { backend } of table.listeners.values()) {
    const { names } = plan(table, undefined, new Map([[backend, 'spare4-0']]));
    expect(names.get(backend)).toBe('spare4-0');
    expect(new Set(names.values()).size).toBe(4);
  }
});

test('two backends never take over the same spare, whatever the map says', () => {
  const anyValue = fc.oneof(fc.constantFrom('spare4-0|1', 'spare6-1|1', 'spare4-99999|1', 'nodes4|1', ''), fc.string());
  fc.assert(
    fc.property(someTable, fc.array(anyValue), (table, values) => {
      let index = 0;
      const adopted = adoptedSpares(table, () => values[index++]);
      expect(new Set(adopted.values()).size).toBe(adopted.size);
    }),
  );
});

test('the commands lead from the servers of any table to those of any other, and leave the rest to be removed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(someTable, { minLength: 1, maxLength: 4 }), async (tables) => {
      const worker = new Map<string, string>();
      const carryOut = (command: string): string => {
        const [, id = '', address] = /^(?:add|set|del) server (\S+) ?(\S+)?/.exec(command) ?? [];
        expect(worker.has(id)).toBe(!command.startsWith('add'));
        if (command.startsWith('add')) {
          worker.set(id, `${address} ${/weight (\d+)/.exec(command)?.[1]}`);
          return 'New server registered.';
        }
        if (command.includes(' weight '))
          worker.set(id, `${worker.get(id)?.split(' ')[0]} ${command.split(' ').at(-1)}`);
        if (!command.startsWith('del')) return '';
        worker.delete(id);
        return 'Server deleted.';
      };
      const api = { ask: async (commands: readonly string[]) => commands.map(carryOut) };
      const held = makeHeldSpares([]);
      let before: Before;
      for (const table of tables) {
        const spares = plan(table, before);
        for (const { command } of held.upserts(spares.servers)) carryOut(command);
        await held.removeLeftovers(spares.servers, () => new Set(), api as never, new AbortController().signal);
        const expected = [...spares.servers].flatMap(([name, servers]: [SpareName, readonly SpareServer[]]) =>
          servers.map((server) => {
            const { address, weight } = server;
            const text = address.family === 4 ? address.text : `[${address.text}]`;
            return [`${name}/${server.node}`, `${text} ${weight}`] as const;
          }),
        );
        expect(worker).toEqual(new Map(expected));
        expect(held.upserts(spares.servers)).toEqual([]);
        before = { table, spares };
      }
    }),
  );
});
