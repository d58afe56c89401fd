import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressOf, nodeName, row, tableOf } from '../../../test/netns/rows.ts';
import type { Row, TrafficTable } from '../../core/traffic/table.ts';
import { type Desired, planDesired } from './desired.ts';
import { mapText } from './rows.ts';
import { formatLayout, growLayout, type Layout, parseLayout, profileId } from './layout.ts';
import { serverUpserts } from './server-changes.ts';
import type { Settings } from './settings.ts';

const settings: Settings = {
  folder: '/var/lib/furiwake/haproxy',
  listenPort: 17_100,
  maxConnections: 8900,
  idleTimeoutSeconds: 3600,
  hasIpv6: true,
  account: undefined,
};
const address4 = fc.ipV4().map(addressOf);
const profile = fc.record({
  algorithm: fc.constantFrom('roundrobin', 'leastconn', 'source'),
  proxyProtocol: fc.constantFrom('none', 'v1', 'v2'),
});
/** Among them what breaks out of a word, a line, a comment, a format or a payload. */
const hostileName = fc
  .oneof(
    fc.constantFrom(
      'n1',
      'n2',
      'a.b-c',
      'n1;disable',
      'n1 n2',
      'n1\nbackend x',
      '%[env(A)]',
      '"',
      '#',
      '\\',
      '<<',
      '',
      '-',
    ),
    fc.string(),
    fc.string({ minLength: 250, maxLength: 260, unit: fc.constantFrom('a', '.') }),
  )
  .map(nodeName);
const anyNumber = fc.oneof(fc.integer({ min: -1, max: 70_000 }), fc.double(), fc.constantFrom(Number.NaN));
const ownServer = fc.record({ node: hostileName, address: address4, port: anyNumber, weight: anyNumber });
const backend = fc.oneof(
  fc.record({ kind: fc.constant('nodes' as const), family: fc.constant(4 as const), nodePort: anyNumber }),
  fc.record({ kind: fc.constant('own' as const), profile, servers: fc.array(ownServer, { maxLength: 4 }) }),
);
const anyRow = fc
  .record({ address: fc.ipV4(), port: anyNumber, backend, cap: fc.option(anyNumber, { nil: undefined }) })
  .map(({ address, port, backend: to, cap }) => row(address, port, to, { maxConnections: cap }));
const nodes = fc.record({
  4: fc.array(fc.record({ node: hostileName, address: address4, state: fc.constantFrom('active', 'drain') })),
  6: fc.constant([]),
});

function plan(table: TrafficTable, before?: Desired): Desired {
  return planDesired(settings, table, before?.layout ?? new Map(), undefined, before);
}

const name = '[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?';
const serverLine = new RegExp(
  `^ {4}server (?:${name} [\\d.]+ check port 10256 inter 1s fall 2 rise 1(?: disabled)?` +
    `|${name}_4_[\\d.]+:\\d+ [\\d.]+:\\d+ track nodes4/${name} weight \\d{1,3}(?: send-proxy(?:-v2)?)?)$`,
);

test('whatever stands in a table, it adds no line to the configuration but servers of the one form', () => {
  fc.assert(
    fc.property(fc.array(anyRow, { maxLength: 8 }), nodes, (rows, theNodes) => {
      const { config, layout } = plan(tableOf(rows, theNodes));
      const bare = planDesired(settings, tableOf([]), layout, undefined, undefined).config.split('\n');
      const lines = config.split('\n');
      const added = lines.filter((line) => /^\s*server /.test(line));
      expect(lines.filter((line) => !added.includes(line))).toEqual(bare);
      for (const line of added) expect(line).toMatch(serverLine);
    }),
  );
});

test('whatever stands in a table, it adds no word to a line of the map or to a command', () => {
  fc.assert(
    fc.property(fc.array(anyRow, { maxLength: 8 }), nodes, (rows, theNodes) => {
      const { entries, servers } = plan(tableOf(rows, theNodes));
      for (const line of mapText(entries).split('\n').slice(0, -1))
        expect(line).toMatch(
          /^[\d.]+\|\d{1,5} (?:nodes4\|\d{1,5}|slot_[a-z]+_[a-z0-9]+_\d+\|0)\|[1-9]\d*\|[0-9a-f]{16}$/,
        );
      for (const command of serverUpserts(new Map(), servers, () => true)) expect(command).toMatch(/^[a-z0-9 ./:_-]+$/);
    }),
  );
});

test('a plan after another is the plan from nothing, but for the slots that rows keep', () => {
  const steps = fc.array(fc.array(anyRow, { maxLength: 8 }), { maxLength: 6 });
  fc.assert(
    fc.property(steps, nodes, (tables, theNodes) => {
      let before: Desired | undefined;
      for (const rows of tables) {
        const table = tableOf(rows, theNodes);
        const after = plan(table, before);
        const anew = planDesired(settings, table, after.layout, undefined, undefined);
        const withoutSlots = (text: string): string => text.replaceAll(/slot_(\w+)_\d+/g, 'slot_$1');
        expect(withoutSlots(mapText(after.entries))).toBe(withoutSlots(mapText(anew.entries)));
        before = after;
      }
    }),
  );
});

test('no two rows ever share a slot, each has one of its profile, and a row keeps its slot', () => {
  const own = anyRow.filter((each) => each.backend.kind === 'own' && plan(tableOf([each])).entries.size === 1);
  const steps = fc.array(fc.uniqueArray(own, { maxLength: 20, selector: ({ key }) => key }), { maxLength: 4 });
  fc.assert(
    fc.property(steps, (tables) => {
      let before: Desired | undefined;
      for (const rows of tables) {
        const after = plan(tableOf(rows), before);
        const slots = [...after.slots];
        expect(new Set(slots.map(([, slot]) => slot)).size).toBe(rows.length);
        for (const [each, slot] of slots) {
          expect(slot).toContain(profileOf(each));
          expect(before?.slots.get(each) ?? slot).toBe(slot);
        }
        before = after;
      }
    }),
  );
});

function profileOf({ backend: { kind, ...rest } }: Row): string {
  return kind === 'own' && 'profile' in rest ? `slot_${profileId(rest.profile)}_` : '';
}

test('a layout is read back as it was written, and only grows', () => {
  const grown = fc.array(fc.tuple(profile.map(profileId), fc.integer({ min: 0, max: 500 })));
  fc.assert(
    fc.property(grown, (steps) => {
      let layout: Layout = new Map();
      for (const [id, count] of steps) {
        const before = layout.get(id) ?? 0;
        layout = growLayout(layout, id, count);
        expect(layout.get(id) ?? 0).toBeGreaterThanOrEqual(Math.max(before, count));
      }
      expect(parseLayout(formatLayout(layout))).toEqual(layout);
    }),
  );
});
