import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { runFor } from '../../test/make/run-for.ts';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { formatRange } from '../core/ip/range.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { loadCandidates } from '../daemon/candidates.ts';
import { loadTenureRecord } from '../daemon/tenure-record.ts';
import { loadDrains } from '../daemon/drains.ts';
import { earlierStatePaths, statePaths } from '../daemon/platform.ts';
import { readAnsweringNodes } from './answering-nodes.ts';
import { makeIdentityFile } from './identity.ts';
import { makeFileLedger } from './ledger.ts';
import { makePlacementRecord } from './placement-record.ts';
import { makeTableFile } from './table.ts';

/*
 * The state directories of release 0.1.0 and of the present code, as each wrote it (test/fixtures): a dual-stack Service
 * with source ranges, a deleted one (192.0.2.201), one without an address, one on the host's own address (192.0.2.10). At a
 * release `state-unreleased` gets its number, and the next release must read it as well.
 */
const stateDir = '/state';
const paths = statePaths(stateDir);
const earlier = earlierStatePaths(stateDir);
const { signal } = new AbortController();

type StoredState = Readonly<Record<'ledger' | 'table' | 'placement' | 'identity', unknown>>;

/** All state files, opened on these texts. */
function open(texts: Map<string, string>) {
  const files = filesOf(texts);
  const log = recordLog();
  const placement = makePlacementRecord({ path: paths.placement, earlierPath: earlier.addresses, files, log });
  return {
    log,
    placement,
    identity: makeIdentityFile({ path: paths.identity, earlierPath: earlier.identity, files, log }),
    ledger: makeFileLedger({ path: paths.ledger, earlierPath: earlier.records, files, clock: virtualClock(), log }),
    table: makeTableFile({
      paths,
      earlier,
      placed: () => placement.read(),
      files,
      log,
    }),
  };
}

function fixture(release: '0.1.0' | 'unreleased' = '0.1.0'): Map<string, string> {
  const folder = new URL(`../../test/fixtures/state-${release}/`, import.meta.url);
  return new Map(
    readdirSync(folder).map((name) => [`${stateDir}/${name}`, readFileSync(new URL(name, folder), 'utf8')]),
  );
}

/** The lines of each file, in any order, and the fields of each in any order. */
function contentOf(texts: ReadonlyMap<string, string>): ReadonlyMap<string, ReadonlySet<unknown>> {
  return new Map(Array.from(texts, ([path, text]) => [path, new Set(text.trimEnd().split('\n').map(parsed))]));
}

function parsed(line: string): unknown {
  return JSON.parse(line);
}

/** Writes each file again, with the content that it has. */
async function writeAll({ ledger, table, placement, identity }: ReturnType<typeof open>): Promise<void> {
  await table.write((await table.read()) ?? never());
  await placement.write(await placement.read());
  const [uid = never(), record] = [...(await ledger.read())][0] ?? [];
  await ledger.commit(new Map([[uid, record]]), signal);
  await identity.write((await identity.read()) ?? never());
}

async function read({ ledger, table, placement, identity }: ReturnType<typeof open>): Promise<StoredState> {
  return {
    ledger: Object.fromEntries(
      Array.from((await ledger.read()).values(), ({ service, addresses, listeners }) => [
        service,
        [addresses.map(({ text }) => text), listeners],
      ]),
    ),
    table: await table.read(),
    placement: Object.fromEntries(await placement.read()),
    identity: await identity.read(),
  };
}

test('addresses, listeners with their ranges, nodes, added addresses and the identity survive', async () => {
  const state = open(fixture());
  const { ledger, placement, identity } = await read(state);
  expect(identity).toBe('lb1_2f6b0c1e-5f0e-4d0e-9b57-0c1f6f1f3c2a');
  expect(ledger).toEqual({
    'default/web': [
      ['192.0.2.200', '2001:db8:0:1::200'],
      ['192.0.2.200|80|TCP', '192.0.2.200|443|TCP', '2001:db8:0:1::200|80|TCP', '2001:db8:0:1::200|443|TCP'],
    ],
    'dns/coredns': [['192.0.2.202'], ['192.0.2.202|53|TCP', '192.0.2.202|9153|TCP']],
    'default/own': [['192.0.2.10'], ['192.0.2.10|8080|TCP']],
    'default/pending': [[], []],
  });
  expect(placement).toEqual({
    '192.0.2.200': 'furiwake0',
    '192.0.2.202': 'furiwake0',
    '2001:db8:0:1::200': 'eth0',
  });
  const table = await state.table.read();
  const listeners = Array.from(table?.listeners.values() ?? [], (each) => [
    each.key,
    each.service,
    each.uid.at(-1),
    each.backend,
    each.targetPort,
    each.sourceRanges?.map(formatRange),
    each.isHostAddress,
  ]);
  expect(new Set(listeners)).toEqual(
    new Set([
      ['192.0.2.10|8080|TCP', 'default/own', '5', 'nodes4', 30_808, undefined, true],
      [
        '192.0.2.200|443|TCP',
        'default/web',
        '1',
        'nodes4',
        30_443,
        ['198.51.100.0-198.51.100.255', '203.0.113.7'],
        false,
      ],
      ['192.0.2.200|80|TCP', 'default/web', '1', 'nodes4', 30_080, undefined, false],
      ['192.0.2.202|53|TCP', 'dns/coredns', '3', 'nodes4', 30_053, undefined, false],
      ['192.0.2.202|9153|TCP', 'dns/coredns', '3', 'nodes4', 30_054, undefined, false],
      ['2001:db8:0:1::200|443|TCP', 'default/web', '1', 'nodes6', 30_443, [], false],
      ['2001:db8:0:1::200|80|TCP', 'default/web', '1', 'nodes6', 30_080, undefined, false],
    ]),
  );
  expect(
    Array.from(table?.nodes.values() ?? [], (n) => [n.name, n.addresses.map(({ text }) => text), n.state]),
  ).toEqual([
    ['n1', ['192.0.2.11', '2001:db8:0:1::11'], 'active'],
    ['n2', ['192.0.2.12'], 'drain'],
  ]);
  expect(Array.from(table?.backends ?? [], ([id, { servers }]) => [id, servers.map(({ node }) => node)])).toEqual([
    ['nodes4', ['n1', 'n2']],
    ['nodes6', ['n1']],
  ]);
  expect(state.log.lines).toEqual([]);
});

test('a new write has the same content under new names, each with a version, and removes the old files', async () => {
  const texts = fixture();
  const state = open(texts);
  const before = await read(state);
  await writeAll(state);
  expect([...texts.keys()].sort()).toEqual(
    [
      paths.backends,
      paths.withoutEndpoints,
      paths.identity,
      paths.ledger,
      paths.listeners,
      paths.nodes,
      paths.placement,
    ].sort(),
  );
  for (const text of texts.values()) expect(text.split('\n', 1)[0]).toMatch(/^\{"file":"[\w-]+","version":\d+\}$/);
  expect(await read(open(texts))).toEqual(before);
});

test('an upgrade that is interrupted between two files loses no data', async () => {
  const before = await read(open(fixture()));
  for (const upTo of [0, 1, 2, 3, 4]) {
    const texts = fixture();
    const state = open(texts);
    const table = (await state.table.read()) ?? never();
    const records = await state.ledger.read();
    const steps = [
      () => state.ledger.commit(new Map(records), signal),
      async () => state.placement.write(await state.placement.read()),
      async () => state.identity.write((await state.identity.read()) ?? never()),
      () => state.table.write({ ...table, listeners: PersistentMap.from([...table.listeners]) }),
    ];
    for (const step of steps.slice(0, upTo)) await step();
    expect(await read(open(texts))).toEqual(before);
  }
});

test.each(['records.jsonl', 'rows.jsonl', 'nodes.json', 'addresses.json'])(
  'a torn %s of the old release is logged with its line number, and does not block the new release',
  async (name) => {
    const texts = fixture();
    const path = `${stateDir}/${name}`;
    texts.set(path, `{"torn\n${(texts.get(path) ?? '').slice(40)}`);
    const state = open(texts);
    await read(state);
    const places = new Set(state.log.lines.map(({ fields }) => String(fields['file']).split(':')[0]));
    expect(places).toEqual(new Set([path]));
  },
);

const log = recordLog();
const lastTenure = {
  lease: '6c1f0a52-9d5e-4f9c-8a64-1f0a2d3b4c5e',
  transitions: 3,
  holder: 'lb1_2f6b0c1e-5f0e-4d0e-9b57-0c1f6f1f3c2a',
};
const ownTenure = { identity: lastTenure.holder, hostname: 'lb1' };
const withoutOwner = new Set(['haproxy', 'adminSocket']); // HAProxy's files have their own tests, a socket has no content

test('the fixture contains each file of the present code', () => {
  const owned = Object.entries(paths).flatMap(([name, path]) => (withoutOwner.has(name) ? [] : path));
  expect([...fixture('unreleased').keys()].toSorted()).toEqual([...owned, `${stateDir}/furiwake-state`].toSorted());
});

test('the present code reads its own files without a log line, and writes the same headers and entries', async () => {
  const texts = fixture('unreleased');
  const state = open(texts);
  expect(await read(state)).toEqual(await read(open(fixture('0.1.0'))));
  await writeAll(state);
  const files = filesOf(texts);
  const clock = virtualClock();
  const drains = await loadDrains<NodeName>({ kind: 'node', path: paths.drains, files, log });
  const [drained = never()] = drains.current();
  for (const isDrained of [false, true]) await drains.set(drained, isDrained);
  const ofServices = await loadDrains<ServiceKey>({ kind: 'service', path: paths.drainedServices, files, log });
  const [service = never()] = ofServices.current();
  for (const isDrained of [false, true]) await ofServices.set(service, isDrained);
  const answering = await readAnsweringNodes({ path: paths.answeringNodes, files, log });
  await answering.write(answering.known);
  const candidates = await loadCandidates({ path: paths.candidates, files, clock, log });
  expect(candidates.hasOthers()).toBe(true);
  candidates.add('lb2_7d9c3f1a-0b52-4c8e-8d3f-5a6b7c8d9e0f');
  await runFor(candidates, clock);
  const ofTenure = { path: paths.tenure, ledgerPath: paths.ledger, leaseName: 'furiwake', ...ownTenure };
  const tenures = await loadTenureRecord({ ...ofTenure, files, clock, log });
  expect(tenures.successionTo(lastTenure)).toBe('own');
  tenures.keep(lastTenure);
  await runFor(tenures, clock);
  const upgraded = fixture('0.1.0');
  await writeAll(open(upgraded));
  for (const written of [texts, new Map([...texts, ...upgraded])])
    expect(contentOf(written)).toEqual(contentOf(fixture('unreleased')));
  expect([...state.log.lines, ...log.lines]).toEqual([]);
});

test.each([
  'ledger',
  'listeners',
  'nodes',
  'backends',
  'withoutEndpoints',
  'placement',
  'identity',
  'drains',
  'drainedServices',
  'candidates',
  'tenure',
  'answeringNodes',
] as const)('a file %s of a newer release is refused by name', async (name) => {
  const texts = fixture('unreleased');
  texts.set(paths[name], (texts.get(paths[name]) ?? '').replace(/"version":\d+/, '"version":99'));
  const files = filesOf(texts);
  const readAll = async (): Promise<void> => {
    await read(open(texts));
    await loadDrains<NodeName>({ kind: 'node', path: paths.drains, files, log });
    await loadDrains<ServiceKey>({ kind: 'service', path: paths.drainedServices, files, log });
    await readAnsweringNodes({ path: paths.answeringNodes, files, log });
    const clock = virtualClock();
    await loadCandidates({ path: paths.candidates, files, clock, log });
    await loadTenureRecord({
      path: paths.tenure,
      ledgerPath: paths.ledger,
      leaseName: 'furiwake',
      ...ownTenure,
      files,
      clock,
      log,
    });
  };
  await expect(readAll()).rejects.toThrow(`${paths[name]} was written by a newer release`);
});

function never(): never {
  throw new Error('there is one');
}
