import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { recordOf } from '../../test/contract/ledger.ts';
import { type RecordedLog, recordLog } from '../../test/sim/observers.ts';
import { runFor } from '../../test/make/run-for.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { emptyTable } from '../core/traffic/table.ts';
import { loadCandidates } from '../daemon/candidates.ts';
import { loadDrains } from '../daemon/drains.ts';
import { earlierStatePaths, statePaths } from '../daemon/platform.ts';
import { loadTenureRecord } from '../daemon/tenure-record.ts';
import { type NodeName, serviceKey, type ServiceKey } from '../core/model/names.ts';
import { systemFiles as files } from '../main/node/files.ts';
import { readAnsweringNodes } from './answering-nodes.ts';
import { makeIdentityFile } from './identity.ts';
import { makeFileLedger } from './ledger.ts';
import { makePlacementRecord } from './placement-record.ts';
import { makeTableFile } from './table.ts';

/* A folder in the place of a file stands for every file that the system cannot read: also root gets an error. */

let root: string;
let stateDir: string;
beforeAll(() => {
  root = mkdtempSync(path.join(tmpdir(), 'furiwake-unreadable-'));
});
beforeEach(() => {
  stateDir = mkdtempSync(path.join(root, 'case-'));
});
afterAll(() => rmSync(root, { recursive: true }));

type Opened = {
  /** Reads the file; resolves with what it has. */
  readonly read: () => Promise<unknown>;
  /** Makes the file have something. */
  readonly write: () => Promise<unknown>;
};

const { signal } = new AbortController();
const clock = virtualClock();

const placementOf = (log: RecordedLog): ReturnType<typeof makePlacementRecord> =>
  makePlacementRecord({
    path: statePaths(stateDir).placement,
    earlierPath: earlierStatePaths(stateDir).addresses,
    files,
    log,
  });

function openTable(log: RecordedLog): Opened {
  const [paths, earlier] = [statePaths(stateDir), earlierStatePaths(stateDir)];
  const file = makeTableFile({
    paths,
    earlier,
    placed: async () => new Map(),
    files,
    log,
  });
  return { read: () => file.read(), write: () => file.write(emptyTable) };
}

function openLedger(log: RecordedLog): Opened {
  const [paths, earlier] = [statePaths(stateDir), earlierStatePaths(stateDir)];
  const ledger = makeFileLedger({ path: paths.ledger, earlierPath: earlier.records, files, clock, log });
  return {
    read: async () => [...(await ledger.read()).keys()],
    write: () => ledger.commit(new Map([recordOf('a', '192.0.2.1')]), signal),
  };
}

function openPlacement(log: RecordedLog): Opened {
  const file = placementOf(log);
  return {
    read: async () => [...(await file.read())],
    write: () => file.write(PersistentMap.from([['192.0.2.1', 'furiwake0']])),
  };
}

function openDrains(log: RecordedLog): Opened {
  const drains = loadDrains<NodeName>({ kind: 'node', path: statePaths(stateDir).drains, files, log });
  return {
    read: async () => [...(await drains).current()],
    write: async () => (await drains).set('n1' as NodeName, true),
  };
}

function openDrainedServices(log: RecordedLog): Opened {
  const { drainedServices } = statePaths(stateDir);
  const drains = loadDrains<ServiceKey>({ kind: 'service', path: drainedServices, files, log });
  return {
    read: async () => [...(await drains).current()],
    write: async () => (await drains).set(serviceKey('shop', 'web'), true),
  };
}

function openTenures(log: RecordedLog): Opened {
  const { tenure: at, ledger: ledgerPath } = statePaths(stateDir);
  const record = loadTenureRecord({
    path: at,
    ledgerPath,
    leaseName: 'furiwake',
    identity: 'lb1_a',
    hostname: 'lb1',
    files,
    clock,
    log,
  });
  const tenure = { lease: 'uid-1', transitions: 1, holder: 'lb1_a' };
  return {
    read: async () => (await record).successionTo(tenure),
    write: async () => {
      (await record).keep(tenure);
      await runFor(await record, clock);
    },
  };
}

function openAnsweringNodes(log: RecordedLog): Opened {
  const shown = readAnsweringNodes({ path: statePaths(stateDir).answeringNodes, files, log });
  return {
    read: async () => [...(await shown).known],
    write: async () => (await shown).write(new Map([['n1 4', { address: '192.0.2.11', mac: '02:00:00:00:00:01' }]])),
  };
}

const tables: readonly (readonly [file: string, open: (log: RecordedLog) => Opened, none: unknown, says: RegExp])[] = [
  ['ledger.jsonl', openLedger, [], /: addresses are adopted from the statuses of the Services$/],
  ['records.jsonl', openLedger, [], /: addresses are adopted from the statuses of the Services$/],
  ['listeners.jsonl', openTable, undefined, /: the last table is not restored; furiwake waits for the API server$/],
  ['rows.jsonl', openTable, undefined, /: the last table is not restored; furiwake waits for the API server$/],
  ['nodes.jsonl', openTable, undefined, /: the last table is not restored; furiwake waits for the API server$/],
  ['nodes.json', openTable, undefined, /^the nodes of the earlier release cannot be read; waiting for the API server$/],
  ['placement.jsonl', openPlacement, [], /: the addresses on furiwake0, furiwake1 … are known without it;/],
  ['addresses.json', openPlacement, [], /: the addresses on furiwake0, furiwake1 … are known without it;/],
  ['drains.jsonl', openDrains, [], /: no node counts as drained; drain again those that should be$/],
  [
    'drained-services.jsonl',
    openDrainedServices,
    [],
    /: no Service counts as drained; drain again those that should be$/,
  ],
  [
    'answering-nodes.jsonl',
    openAnsweringNodes,
    [],
    /: each node is probed again before direct uses it for a Service that did not request direct$/,
  ],
  [
    'tenure.jsonl',
    openTenures,
    'unknown',
    /: addresses in the statuses of the Services take precedence over those of the ledger$/,
  ],
];

test.each(tables)(
  'furiwake starts without a %s that cannot be read, and replaces it',
  async (name, open, none, says) => {
    const at = path.join(stateDir, name);
    mkdirSync(at);
    const log = recordLog();
    const opened = open(log);
    expect(await opened.read()).toEqual(none);
    expect(log.lines).toMatchObject([{ level: 'error', fields: { file: at, err: { code: 'EISDIR' } } }]);
    expect(log.lines[0]?.message).toMatch(says);
    await opened.write();
    expect(statSync(at, { throwIfNoEntry: false })?.isDirectory() ?? false).toBe(false);
    const again = recordLog();
    expect(await open(again).read()).not.toEqual(none);
    expect(again.lines).toEqual([]);
  },
);

test.each([
  ['backends.jsonl', /: furiwake waits for the API server, and meanwhile all nodes serve a Service with /],
  ['without-endpoints.jsonl', /: until furiwake has read the EndpointSlices, HAProxy accepts connections of Services /],
])('the last table is restored without a %s that cannot be read, which is replaced', async (name, says) => {
  const at = path.join(stateDir, name);
  await openTable(recordLog()).write();
  rmSync(at);
  mkdirSync(at);
  const log = recordLog();
  const opened = openTable(log);
  expect(await opened.read()).toMatchObject({ listeners: emptyTable.listeners });
  expect(log.lines).toMatchObject([{ level: 'error', fields: { file: at, err: { code: 'EISDIR' } } }]);
  expect(log.lines[0]?.message).toMatch(says);
  await opened.write();
  const again = recordLog();
  expect(await openTable(again).read()).toBeDefined();
  expect(again.lines).toEqual([]);
});

test('a file that cannot be read is logged once, however often it is read', async () => {
  const log = recordLog();
  mkdirSync(statePaths(stateDir).placement);
  const file = placementOf(log);
  await file.read();
  await file.read();
  expect(log.lines).toHaveLength(1);
});

test('a host whose list of other hosts cannot be read assumes that there is another one', async () => {
  const { candidates: at } = statePaths(stateDir);
  mkdirSync(at);
  const log = recordLog();
  const candidates = await loadCandidates({ path: at, files, clock, log });
  expect(candidates.hasOthers()).toBe(true);
  expect(log.lines).toMatchObject([{ level: 'error', fields: { file: at } }]);
  candidates.add('lb2_a');
  await runFor(candidates, clock);
  const again = recordLog();
  expect((await loadCandidates({ path: at, files, clock, log: again })).hasOthers()).toBe(true);
  expect(again.lines).toEqual([]);
});

test.each(['identity.jsonl', 'identity'])('an %s that cannot be read ends the start by its path', async (name) => {
  const at = path.join(stateDir, name);
  mkdirSync(at);
  const [paths, earlier] = [statePaths(stateDir), earlierStatePaths(stateDir)];
  const file = makeIdentityFile({ path: paths.identity, earlierPath: earlier.identity, files, log: recordLog() });
  await expect(file.read()).rejects.toMatchObject({
    code: 'UNREADABLE_FILE',
    message: `${at} cannot be read (illegal operation on a directory): repair the disk, or remove the file`,
  });
});
