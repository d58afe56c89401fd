import fc from 'fast-check';
import { expect, test } from 'vitest';
import { anyOptions } from '../../../../test/make/options.ts';
import { makeService, tcp } from '../../../../test/make/service.ts';
import { addressOf, listener, nodeName, tableOf } from '../../../../test/make/table.ts';
import { optionsOfPort } from '../../../core/traffic/port-options.ts';
import type { TrafficNode, TrafficTable } from '../../../core/traffic/table.ts';
import { makeListener } from '../../../core/traffic/make-listener.ts';
import type { Settings } from './config.ts';
import { type Desired, fullConfigOf, planDesired } from './desired.ts';
import { mapText } from './entries.ts';
import { makeHeldSpares } from './held-spares.ts';
import type { SpareName } from './pools.ts';
import { type SpareServer, spareServerLine } from './spare-servers.ts';
import { serverUpserts } from '../runtime/worker.ts';

const settings: Settings = {
  folder: '/run/furiwake/net-1/haproxy',
  maxConnections: 8900,
  idleTimeoutSeconds: 3600,
  hasIpv6: true,
  account: undefined,
};
/** Includes characters that end a word, a line, a comment, a format or a payload. */
const hostileText = fc.oneof(
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
);
const anyNumber = fc.oneof(fc.integer({ min: -1, max: 70_000 }), fc.double(), fc.constantFrom(Number.NaN));
const anyListener = fc
  .record({
    address: fc.oneof(fc.ipV4(), fc.constantFrom('fd00::1', 'fd00::2')),
    port: anyNumber,
    targetPort: anyNumber,
    protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'),
    dataplane: fc.constantFrom('haproxy', 'haproxy', 'direct'),
    backend: fc.option(hostileText, { nil: undefined }),
    service: hostileText,
    annotations: anyOptions,
    sessionAffinity: fc.constantFrom('None', 'ClientIP'),
  })
  .map(({ address, port, targetPort, protocol, dataplane, backend, service, annotations, sessionAffinity }) => {
    const valid = listener(address, 80, 30_000);
    return makeListener({
      ...valid,
      port,
      targetPort,
      protocol,
      dataplane,
      // The name of a backend says its family.
      backend: (backend === undefined ? valid.backend : `${valid.address.family}${backend}`) as typeof valid.backend,
      service: service as typeof valid.service,
      options: optionsOfPort(
        makeService('a', { options: annotations, ports: [tcp(80)], backends: 'pods', sessionAffinity }).spec,
        tcp(80),
        false,
      ),
    });
  });
const anyNode: fc.Arbitrary<TrafficNode> = fc.record({
  name: hostileText.map(nodeName),
  addresses: fc.tuple(fc.ipV4(), fc.constantFrom('fd00::11', 'fd00::12')).map((texts) => texts.map(addressOf)),
  podCidrs: fc.constant([]),
  bootId: fc.constant(undefined),
  state: fc.constantFrom('active', 'drain'),
});
const anyTable = fc
  .tuple(fc.array(anyListener, { maxLength: 8 }), fc.array(anyNode))
  .map(([listeners, nodes]) => tableOf(listeners, nodes));

function plan(table: TrafficTable, before?: Desired): Desired {
  return planDesired(settings, table, before);
}

const name = '[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?';
const serverLine = new RegExp(
  `^ {4}server ${name} (?:[\\d.]+|\\[[0-9a-f:]+\\]) check port 10256 inter 1s fall 2 rise 1(?: disabled)?$`,
);

test('any table adds only server lines of one form to the configuration', () => {
  fc.assert(
    fc.property(anyTable, (table) => {
      const { config, bareConfig } = plan(table);
      const lines = config.split('\n');
      const added = lines.filter((line) => /^\s*server /.test(line));
      expect(lines.filter((line) => !added.includes(line))).toEqual(bareConfig.split('\n'));
      for (const line of added) expect(line).toMatch(serverLine);
    }),
  );
});

const spareLines = new RegExp(
  [
    `^ {4}server ${name}(?::\\d{1,5}(?::[a-z\\d.-]+)?)? (?:[\\d.]+|\\[[0-9a-f:]+\\])(?::\\d{1,5})?`,
    ` (?:track nodes[46]/${name}|check inter \\d+ms fall \\d+ rise \\d+) weight \\d+`,
    '(?: send-proxy(?:-v2)?)?(?: check-send-proxy)?(?: maxconn \\d+)?(?: slowstart \\d+ms)?(?: disabled)?$',
    '|^ {4}balance (?:roundrobin|leastconn|source)$|^ {4}hash-type consistent$',
    '|^ {4}timeout (?:connect|server|tunnel) \\d+ms$|^ {4}option httpchk GET /[\\w.~/?=&-]*$',
    '|^ {4}stick on src,hex,concat\\(\\|spare[46](?:\\.[a-z\\d]{1,12})?-\\d+\\) table affinity[46]-10800$|^backend affinity[46]-10800$',
    '|^ {4}stick-table type string len 64 size 100k expire 10800s$',
    '|^backend spare[46](?:\\.[a-z\\d]{1,12})?-\\d+$|^$',
    '|^ {4}mode http$|^ {4}http-request set-header (?:X-Forwarded-For %\\[src\\]|Forwarded for=.{6,12};proto=http)$',
  ].join(''),
);

test('no annotation adds anything to a spare backend but lines of a few forms', () => {
  fc.assert(
    fc.property(anyTable, (table) => {
      const desired = plan(table);
      const config = fullConfigOf(settings, desired);
      const spares = config.slice(config.indexOf('backend spare')).split('\n');
      for (const line of spares) expect(line).toMatch(spareLines);
    }),
  );
});

test('no table adds a word to a line of the map or to a command', () => {
  fc.assert(
    fc.property(anyTable, (table) => {
      const { entries, servers, spares } = plan(table);
      for (const line of mapText(entries).split('\n').slice(0, -1))
        expect(line).toMatch(
          /^[\d.:a-f]+\|\d{1,5} (?:nodes[46]|spare[46](?:\.[a-z\d]+)?-\d+)\|\d{1,5}\|[1-9]\d*\|[0-9a-f]{16}(?:\|[1-9]\d*){0,3}$/,
        );
      const commands = [
        ...serverUpserts(new Map(), servers, () => true),
        ...makeHeldSpares([]).upserts(spares.servers),
      ];
      for (const { command } of commands) expect(command).toMatch(/^[a-z0-9 ./:_[\]-]+$/);
    }),
  );
});

test('each listener of HAProxy is either an entry or refused by name, each node either a server or reported', () => {
  fc.assert(
    fc.property(anyTable, (table) => {
      const { entries, refusals, servers, unsafeNodes } = plan(table);
      const ours = [...table.listeners.values()].filter(({ dataplane }) => dataplane === 'haproxy');
      expect([...entries.keys(), ...refusals.keys()].toSorted()).toEqual(ours.map(({ key }) => key).toSorted());
      const served = [...servers[4], ...servers[6]].map(({ node }) => node);
      expect(new Set([...served, ...unsafeNodes])).toEqual(new Set(table.nodes.keys()));
    }),
  );
});

test('a plan after others equals a plan from the start', () => {
  fc.assert(
    fc.property(fc.array(anyTable, { maxLength: 6 }), (tables) => {
      let before: Desired | undefined;
      for (const table of tables) {
        const after = plan(table, before);
        const anew = plan(table);
        expect(mapTextOf(after)).toEqual(mapTextOf(anew));
        expect(withoutSpares(after)).toEqual(withoutSpares(anew));
        before = after;
      }
    }),
  );
});

/** The lines of the map, with the servers of a spare backend instead of its name: which one it is depends on the history. */
function mapTextOf({ entries, spares }: Desired): readonly string[] {
  return mapText(entries)
    .replaceAll(/spare[46](?:\.[a-z\d]+)?-\d+/g, (spare) => contentOf(spares.servers.get(spare as SpareName)))
    .split('\n')
    .toSorted();
}

function contentOf(servers: readonly SpareServer[] = []): string {
  return servers.map(spareServerLine).join();
}

function withoutSpares(desired: Desired): unknown {
  const { uses, names, special } = desired.spares;
  // The program of a plan with a history has profiles that are no longer used.
  const [config, bareConfig, program] = [undefined, undefined, undefined];
  const spares = { uses, special, names: [...names.keys()].toSorted() };
  return { ...desired, entries: undefined, config, bareConfig, program, spares };
}
