import { expect, test } from 'vitest';
import { listener, node, tableOf } from '../../test/make/table.ts';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { earlierStatePaths, statePaths } from '../daemon/platform.ts';
import type { ServiceKey, ServiceUid } from '../core/model/names.ts';
import { parseIp } from '../core/ip/ip.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { loadCandidates } from '../daemon/candidates.ts';
import { loadDrains } from '../daemon/drains.ts';
import { loadTenureRecord } from '../daemon/tenure-record.ts';
import { makeIdentityFile } from './identity.ts';
import { makeFileLedger } from './ledger.ts';
import { makeLostFiles } from './lost-files.ts';
import { makePlacementRecord } from './placement-record.ts';
import { makeTableFile } from './table.ts';
import { readAnsweringNodes } from './answering-nodes.ts';

const { signal } = new AbortController();

/** All files of a state directory, each written once. */
async function writeAll() {
  const texts = new Map<string, string>();
  const [log, clock] = [recordLog(), virtualClock()];
  const lost = makeLostFiles(filesOf(texts));
  const deps = { files: lost.files, log, clock };
  const at = (name: string): string => `/state/${name}.jsonl`;

  const ledger = makeFileLedger({ ...deps, path: at('ledger'), earlierPath: '/state/none' });
  const address = parseIp('192.0.2.51');
  if (address === undefined) throw new Error('no address');
  const uid = 'u1' as ServiceUid;
  const record = { uid, service: 'shop/web' as ServiceKey, addresses: [address], listeners: [] };
  await ledger.commit(new Map([[uid, record]]), signal);

  const stop = new AbortController();
  const tenure = await loadTenureRecord({
    ...deps,
    path: at('tenure'),
    ledgerPath: at('ledger'),
    leaseName: 'furiwake',
    identity: 'lb1_x',
    hostname: 'lb1',
  });
  tenure.keep({ lease: 'l1', transitions: 1, holder: 'lb1_x' });
  const candidates = await loadCandidates({ ...deps, path: at('candidates') });
  candidates.add('lb2_y');
  const running = Promise.allSettled([tenure.run(stop.signal), candidates.run(stop.signal)]);

  const drains = await loadDrains({ ...deps, kind: 'node', path: at('drains') });
  await drains.set('n1', true);
  const serviceDrains = await loadDrains({ ...deps, kind: 'service', path: at('drained-services') });
  await serviceDrains.set('shop/web', true);
  await makeIdentityFile({ ...deps, path: at('identity'), earlierPath: '/state/none' }).write('lb1_x');
  const placement = makePlacementRecord({ ...deps, path: at('placement'), earlierPath: '/state/none' });
  await placement.write(PersistentMap.from([['192.0.2.51', 'furiwake0']]));
  const answering = await readAnsweringNodes({ ...deps, path: at('answering-nodes') });
  await answering.write(new Map([['n1 4', { address: '192.0.2.11', mac: '02:00:00:00:00:01' }]]));
  const table = makeTableFile({
    ...deps,
    paths: statePaths('/state'),
    earlier: earlierStatePaths('/state'),
    placed: async () => new Map(),
  });
  await table.write(tableOf([listener('192.0.2.51', 80, 30_080)], [node('n1', '192.0.2.11')]));
  await clock.advance(0);
  await expect.poll(() => texts.size).toBe(12);
  stop.abort();
  await running;
  return { texts, lost, ledger };
}

test('each file of the state directory that is removed alone is written again as it was; one that is there is left alone', async () => {
  const { texts, lost } = await writeAll();
  const before = new Map(texts);
  for (const path of before.keys()) {
    texts.delete(path);
    expect(await lost.restore()).toEqual([path]);
    expect(texts).toEqual(before);
  }
  texts.set('/state/drains.jsonl', 'changed by an administrator');
  expect(await lost.restore()).toEqual([]);
  expect(texts.get('/state/drains.jsonl')).toBe('changed by an administrator');
});

test('the tenure is not written again where the ledger is missing and not known', async () => {
  const { texts, lost } = await writeAll();
  const next = makeLostFiles(filesOf(texts));
  const deps = { files: next.files, log: recordLog(), clock: virtualClock() };
  await loadTenureRecord({
    ...deps,
    path: '/state/tenure.jsonl',
    ledgerPath: '/state/ledger.jsonl',
    leaseName: 'furiwake',
    identity: 'lb1_x',
    hostname: 'lb1',
  });
  texts.clear();
  expect(await next.restore()).toEqual([]);
  expect(await lost.restore()).toHaveLength(12); // the process before knew both
});

test('a change after a file was restored is appended to it', async () => {
  const { texts, lost, ledger } = await writeAll();
  const before = texts.get('/state/ledger.jsonl') ?? '';
  texts.delete('/state/ledger.jsonl');
  await lost.restore();
  await ledger.commit(new Map([['u1' as ServiceUid, undefined]]), signal);
  expect(texts.get('/state/ledger.jsonl')).toBe(`${before}{"gone":"u1"}\n`);
});
