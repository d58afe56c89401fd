import { expect, test } from 'vitest';
import { listener, node, tableOf } from '../../test/make/table.ts';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { makeNotedTableFile } from './noted-table.ts';
import { makeTableFile, type TableFile } from './table.ts';
import { earlierStatePaths, statePaths } from '../daemon/platform.ts';

const notePath = '/run/unsaved-table';
const nodes = [node('n1', '192.0.2.11')];
const before = tableOf([listener('192.0.2.51', 80, 30_080)], nodes);
const after = tableOf([listener('192.0.2.52', 80, 30_080)], nodes);

/** With the folder below `/run`, which the lock of the host makes. */
const emptyHost = (): Map<string, string> => new Map([['/run/lock.sock', '']]);

/** As a process opens it. */
function open(
  texts: Map<string, string>,
  isReadOnly: () => boolean = () => false,
): { readonly file: TableFile; readonly log: ReturnType<typeof recordLog> } {
  const log = recordLog();
  const files = filesOf(texts);
  const refuse = async (path: string): Promise<void> => {
    if (isReadOnly() && path.startsWith('/state')) throw new Error('EROFS: read-only file system');
  };
  const saved = makeTableFile({
    paths: statePaths('/state'),
    earlier: earlierStatePaths('/state'),
    placed: async () => new Map(),
    files: {
      ...files,
      write: async (path, ...rest) => refuse(path).then(() => files.write(path, ...rest)),
      append: async (path, ...rest) => refuse(path).then(() => files.append(path, ...rest)),
    },
    log,
  });
  return { file: makeNotedTableFile(saved, { notePath, files, log }), log };
}

test('a table of before changes that could not be saved is not restored', async () => {
  const texts = emptyHost();
  let isReadOnly = false;
  const { file } = open(texts, () => isReadOnly);
  await file.write(before);
  isReadOnly = true;
  await expect(file.write(after)).rejects.toThrow('EROFS');
  const next = open(texts);
  expect(await next.file.read()).toBeUndefined();
  expect(next.log.lines).toMatchObject([
    { level: 'warn', message: expect.stringMatching(/^the last changes could not be saved before furiwake ended/) },
  ]);
});

test('it is restored again as soon as a later table is saved, also by the next process', async () => {
  const texts = emptyHost();
  let isReadOnly = true;
  const { file } = open(texts, () => isReadOnly);
  await expect(file.write(before)).rejects.toThrow('EROFS');
  isReadOnly = false;
  await file.write(before);
  expect([...((await open(texts).file.read())?.listeners.keys() ?? [])]).toEqual([...before.listeners.keys()]);

  isReadOnly = true;
  await expect(file.write(after)).rejects.toThrow('EROFS');
  const next = open(texts);
  await next.file.read();
  await next.file.write(after);
  const { file: last, log } = open(texts);
  expect([...((await last.read())?.listeners.keys() ?? [])]).toEqual([...after.listeners.keys()]);
  expect(log.lines).toEqual([]);
  expect(texts.has(notePath)).toBe(false);
});

test('a note that cannot be written hides no error of the disk', async () => {
  const files = { ...filesOf(emptyHost()), write: () => Promise.reject(new Error('ENOENT')) };
  const saved: TableFile = { read: async () => before, write: () => Promise.reject(new Error('EROFS')) };
  const file = makeNotedTableFile(saved, { notePath, files, log: recordLog() });
  await expect(file.write(after)).rejects.toThrow('EROFS');
});
