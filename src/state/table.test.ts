import { expect, test } from 'vitest';
import {
  directListener,
  listener,
  localListener,
  localTable,
  node,
  podListener,
  podTable,
  tableOf,
} from '../../test/make/table.ts';
import { earlierStatePaths, statePaths } from '../daemon/platform.ts';
import { parseRange } from '../core/ip/range.ts';
import type { ServiceUid } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { makeTableFile, type TableFile } from './table.ts';

type OpenTable = {
  readonly file: TableFile;
  readonly log: ReturnType<typeof recordLog>;
  readonly reads: readonly string[];
};

function open(texts: Map<string, string>): OpenTable {
  const log = recordLog();
  const disk = filesOf(texts);
  const reads: string[] = [];
  const file = makeTableFile({
    paths: statePaths('/state'),
    earlier: earlierStatePaths('/state'),
    placed: async () => new Map(),
    files: {
      ...disk,
      read: (path) => {
        reads.push(path);
        return disk.read(path);
      },
    },
    log,
  });
  return { file, log, reads };
}

const podCidrs = ['10.244.0.0/24', 'fd44::/64'].flatMap((text) => parseRange(text) ?? []);
const nodes = [{ ...node('n1', '192.0.2.11', '2001:db8::11'), podCidrs, bootId: 'first' }];

test('listeners of both dataplanes survive, published or not', async () => {
  const texts = new Map<string, string>();
  const listeners = [
    listener('192.0.2.51', 443, 30_443, { sourceRanges: [] }),
    directListener('192.0.2.51', 443, { isPublished: true }),
    directListener('2001:db8::51', 53),
    directListener('192.0.2.52', 80, { protocol: 'TCP', isHostAddress: true }),
  ];
  await open(texts).file.write(tableOf(listeners, nodes));
  const { file, log } = open(texts);
  expect(new Set((await file.read())?.listeners.values())).toEqual(new Set(listeners));
  expect(log.lines).toEqual([]);
});

test('the ledger is read only for a table of release 0.1.0', async () => {
  const texts = new Map<string, string>();
  await open(texts).file.write(tableOf([listener('192.0.2.51', 443, 30_443)], nodes));
  const { file, reads } = open(texts);
  await file.read();
  expect(reads).not.toContain('/state/ledger.jsonl');
  const upgraded = open(new Map([['/state/rows.jsonl', '']]));
  await upgraded.file.read();
  expect(upgraded.reads).toContain('/state/ledger.jsonl');
});

test('backends of Services are read back as they were written, one that is gone is removed', async () => {
  const texts = new Map<string, string>();
  const web = localListener('192.0.2.51', 80, 30_080, 'test/web');
  const mail = localListener('192.0.2.52', 25, 30_025, 'test/mail');
  const table = localTable(
    [
      [web, { n1: 2, n2: { terminating: 1 } }],
      [mail, {}],
    ],
    nodes,
  );
  const { file, log } = open(texts);
  await file.write(table);
  expect([...((await open(texts).file.read())?.backends ?? [])]).toEqual([...table.backends]);
  await file.write({ ...table, backends: table.backends.with([[mail.backend, undefined]]) });
  expect((await open(texts).file.read())?.backends.has(mail.backend)).toBe(false);
  expect(log.lines).toEqual([]);
});

test('listeners without endpoints are read back as they were written', async () => {
  const texts = new Map<string, string>();
  const [web, mail] = [listener('192.0.2.51', 80, 30_080), listener('192.0.2.52', 25, 30_025)];
  const table = tableOf([web, mail], nodes);
  const { file } = open(texts);
  const read = async (): Promise<unknown> =>
    Object.fromEntries((await open(texts).file.read())?.withoutEndpoints ?? []);
  await file.write({ ...table, withoutEndpoints: PersistentMap.from([web, mail].map(({ key, uid }) => [key, uid])) });
  expect(await read()).toEqual({ [web.key]: web.uid, [mail.key]: mail.uid });
  await file.write({ ...table, withoutEndpoints: PersistentMap.from([[mail.key, mail.uid]]) });
  expect(await read()).toEqual({ [mail.key]: mail.uid });
  texts.delete('/state/without-endpoints.jsonl');
  expect(await read()).toEqual({});
});

test('Pods are read back as they were written, and those of a Service that is gone are removed', async () => {
  const texts = new Map<string, string>();
  const web = podListener('192.0.2.51', 80, 'test/web');
  const web6 = podListener('2001:db8::51', 80, 'test/web');
  const table = podTable(
    [
      [web, ['10.244.1.7 8080 n1', '10.244.2.9 8080 draining']],
      [web6, []],
    ],
    nodes,
  );
  const { file, log } = open(texts);
  await file.write(table);
  const read = await open(texts).file.read();
  expect([...(read?.pods ?? [])]).toEqual([...table.pods]);
  expect([...(read?.backends ?? [])]).toEqual([...table.backends]);
  expect(new Set(read?.listeners.values())).toEqual(new Set([web, web6]));
  await file.write({ ...table, pods: table.pods.with([[web.backend, undefined]]) });
  expect([...((await open(texts).file.read())?.pods.keys() ?? [])]).toEqual([web6.backend]);
  expect(log.lines).toEqual([]);
});

test.each([
  '{"id":"local4:a/b","family":4,"servers":[{"node":"n1","weight":0,"isDraining":false}]}',
  '{"id":1}',
  '[]',
  '{"id":"pods4:a/b:80","family":4,"pods":[{"address":"10.244.1","port":80,"isDraining":false}]}',
])('a damaged backend is skipped and logged: %s', async (line) => {
  const texts = new Map<string, string>();
  await open(texts).file.write(tableOf([], nodes));
  texts.set('/state/backends.jsonl', `{"file":"backends","version":1}\n${line}\n`);
  const { file, log } = open(texts);
  expect([...((await file.read())?.backends.keys() ?? [])]).toEqual(['nodes4', 'nodes6']);
  expect(log.lines).toHaveLength(1);
});

test.each([
  ['its beginning', (text: string) => text.replace(/^.*\n/, '\0\0\0')],
  ['a line', (text: string) => text.replace('"port":80', '"port":')],
  ['all of it', () => ''],
])('a table without %s is not restored: what it lacks would be removed', async (_, damage) => {
  const texts = new Map<string, string>();
  const served = [listener('192.0.2.51', 80, 30_080), listener('192.0.2.52', 443, 30_443)];
  await open(texts).file.write(tableOf(served, nodes));
  texts.set('/state/listeners.jsonl', damage(texts.get('/state/listeners.jsonl') ?? ''));
  const { file, log } = open(texts);
  expect(await file.read()).toBeUndefined();
  expect(log.lines).toMatchObject([
    { level: 'error', message: expect.stringContaining('the last table is not restored; furiwake waits') },
  ]);
});

test('a listener of version 2, without a dataplane, is one of HAProxy; its Service is known by name only', async () => {
  const texts = new Map<string, string>();
  await open(texts).file.write(tableOf([], nodes));
  const line =
    '{"port":80,"service":"test/service","protocol":"TCP","backend":"nodes4","targetPort":30080,"isHostAddress":false,"address":"192.0.2.51"}';
  texts.set('/state/listeners.jsonl', `{"file":"listeners","version":2}\n${line}\n`);
  const { file, log } = open(texts);
  expect([...((await file.read())?.listeners.values() ?? [])]).toEqual([
    listener('192.0.2.51', 80, 30_080, { uid: 'test/service' as ServiceUid }),
  ]);
  expect(log.lines).toEqual([]);
});
