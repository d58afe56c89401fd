import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { systemExec as exec } from '../main/node/exec.ts';
import { systemFiles } from '../main/node/files.ts';
import type { Files } from '../ports/files.ts';
import { assertDeletable, deleteState, findStateDir, keepStateDir, openStateDir, refuseStateDir } from './state-dir.ts';

let root: string;
let stateDir: string;
beforeAll(() => {
  root = mkdtempSync(path.join(tmpdir(), 'furiwake-state-'));
});
beforeEach(() => {
  stateDir = path.join(mkdtempSync(path.join(root, 'case-')), 'lib/furiwake');
});
afterAll(() => rmSync(root, { recursive: true }));

/** Real files that belong to root, whichever user runs the test. */
const files: Files = {
  ...systemFiles,
  stat: async (at) => {
    const found = await systemFiles.stat(at);
    return found && { ...found, uid: 0 };
  },
};
const disk = { files, exec };

/** Creates these files in the state directory; a name with a trailing `/` is a folder. */
function fill(...names: readonly string[]): void {
  mkdirSync(stateDir, { recursive: true });
  for (const name of names) {
    const at = path.join(stateDir, name);
    if (name.endsWith('/')) mkdirSync(at);
    else writeFileSync(at, 'text of another program');
  }
}

test('a new folder is created, marked, and recognised again', async () => {
  await openStateDir(disk, stateDir);
  expect(readdirSync(stateDir)).toEqual(['furiwake-state']);
  fill('ledger.jsonl');
  await openStateDir(disk, stateDir);
});

test('a failed start removes everything that it created, and nothing else', async () => {
  await (await openStateDir(disk, stateDir))[Symbol.asyncDispose]();
  expect(existsSync(path.dirname(stateDir))).toBe(false);
  const opened = await openStateDir(disk, stateDir);
  fill('ledger.jsonl');
  await opened[Symbol.asyncDispose]();
  expect(readdirSync(stateDir)).toEqual(['furiwake-state', 'ledger.jsonl']);
  await (await openStateDir(disk, stateDir))[Symbol.asyncDispose]();
  expect(readdirSync(stateDir)).toEqual(['furiwake-state', 'ledger.jsonl']);
});

test.each([
  ['with files of other programs', ['hosts', 'passwd']],
  ['with its own folder haproxy, as in /etc and /var/lib', ['haproxy/', 'hosts']],
  ['with only a folder haproxy', ['haproxy/']],
  ['with an identity of another program', ['identity']],
  ['with a file of another program that has the name of one of furiwake', ['nodes.jsonl']],
  ['with records of another program', ['exports/', 'records.jsonl']],
])('a folder %s is refused by run and by cleanup, and nothing in it changes', async (_, names) => {
  fill(...names);
  const before = readdirSync(stateDir);
  const refusal = (advice: string) => ({
    code: 'START',
    message: `${stateDir} is not a furiwake state directory (no marker file) and not empty: ${advice}`,
  });
  const [ofRun, ofCleanup] = [
    refusal('name an empty or new folder, or that of an earlier furiwake run'),
    refusal('name the --state-dir of furiwake run'),
  ];
  await expect(openStateDir(disk, stateDir)).rejects.toMatchObject(ofRun);
  await expect(findStateDir(disk.files, stateDir)).rejects.toMatchObject(ofRun);
  await expect(assertDeletable(disk, stateDir)).rejects.toMatchObject(ofCleanup);
  await expect(deleteState(disk, stateDir)).rejects.toMatchObject(ofCleanup);
  expect(readdirSync(stateDir)).toEqual(before);
});

test('the state directory of release 0.1.0 is recognised and marked', async () => {
  cpSync(new URL('../../test/fixtures/state-0.1.0', import.meta.url), stateDir, { recursive: true });
  const before = readdirSync(stateDir);
  await openStateDir(disk, stateDir);
  expect(readdirSync(stateDir)).toEqual([...before, 'furiwake-state'].sort());
  for (const name of readdirSync(stateDir)) if (name !== 'records.jsonl') rmSync(path.join(stateDir, name));
  await assertDeletable(disk, stateDir); // by a record
});

test('the state directory of a release 0.1.0 that only waited for the Lease is recognised; a foreign file of that name is not', async () => {
  fill('identity');
  await expect(openStateDir(disk, stateDir)).rejects.toThrow('is not a furiwake state directory');
  cpSync(new URL('../../test/fixtures/state-0.1.0/identity', import.meta.url), path.join(stateDir, 'identity'));
  await openStateDir(disk, stateDir);
  expect(readdirSync(stateDir)).toEqual(['furiwake-state', 'identity']);
});

test.each([
  ['an empty folder', []],
  ['an empty file system', ['lost+found/']],
])('%s becomes a state directory', async (_, names) => {
  fill(...names);
  await openStateDir(disk, stateDir);
  expect(readdirSync(stateDir)).toContain('furiwake-state');
});

test('cleanup deletes the files of furiwake by name, and the folder if it is then empty', async () => {
  await openStateDir(disk, stateDir);
  fill('ledger.jsonl', 'ledger.jsonl.new', 'records.jsonl', 'identity', 'haproxy/', 'haproxy/haproxy.cfg', 'notes');
  await deleteState(disk, stateDir);
  expect(readdirSync(stateDir)).toEqual(['notes']);
  rmSync(path.join(stateDir, 'notes'));
  await openStateDir(disk, stateDir);
  await deleteState(disk, stateDir);
  expect(existsSync(stateDir)).toBe(false);
  await deleteState(disk, stateDir);
});

test('a folder that furiwake wrote to after its files were removed is recognised and marked', async () => {
  fill();
  for (const [name, text] of [
    ['tenure.jsonl', '{"file":"tenure","version":1}\n'],
    ['ledger.jsonl.new', ''],
    ['admin.sock', ''],
  ] as const)
    writeFileSync(path.join(stateDir, name), text);
  await assertDeletable(disk, stateDir);
  await openStateDir(disk, stateDir);
  expect(readdirSync(stateDir)).toContain('furiwake-state');
  await deleteState(disk, stateDir);
  expect(existsSync(stateDir)).toBe(false);
});

test('the directory of a newer release is refused by name', async () => {
  fill();
  writeFileSync(path.join(stateDir, 'furiwake-state'), '{"file":"furiwake-state","version":2}\n');
  for (const attempt of [openStateDir, deleteState])
    await expect(attempt(disk, stateDir)).rejects.toMatchObject({
      code: 'START',
      message: expect.stringMatching(
        /belongs to a newer release of furiwake \(version 2, this one knows up to version 1\)/,
      ),
    });
});

test('a marker that a crash cut short is valid', async () => {
  fill('ledger.jsonl');
  writeFileSync(path.join(stateDir, 'furiwake-state'), '');
  await openStateDir(disk, stateDir);
  expect(readdirSync(stateDir)).toContain('ledger.jsonl');
});

test('a folder that other users can write to, or that belongs to another user, is refused with a remedy', async () => {
  fill();
  chmodSync(stateDir, 0o777);
  await expect(openStateDir(disk, stateDir)).rejects.toThrow(
    `owner 0, mode 777). Run: chown root ${stateDir} && chmod 700 ${stateDir}`,
  );
  const stat: Files['stat'] = async () => ({ isFolder: true, uid: 1000, mode: 0o700 });
  await expect(openStateDir({ exec, files: { ...files, stat } }, stateDir)).rejects.toThrow('owner 1000, mode 700');
  expect(readdirSync(stateDir)).toEqual([]);
});

test('a file and a dangling link are not accepted as folders', async () => {
  mkdirSync(path.dirname(stateDir), { recursive: true });
  writeFileSync(stateDir, '');
  await expect(openStateDir(disk, stateDir)).rejects.toMatchObject({ code: 'START' });
  rmSync(stateDir);
  symlinkSync('/nowhere', stateDir);
  await expect(openStateDir(disk, stateDir)).rejects.toMatchObject({ code: 'START' });
});

test.each([
  ['ENOSPC', 'the disk is full: free some space'],
  ['EROFS', 'the file system is read-only: remount it, or choose another folder'],
  ['EACCES', 'it must be a folder in which root can create files and sockets (permission denied)'],
])('a disk that fails with %s gives one line with a remedy', async (code, advice) => {
  const refusal = Object.assign(new Error(`${code}: permission denied, open '/x'`), { code, errno: -13 });
  for (const rest of [{ makeFolder: () => Promise.reject(refusal) }, { write: () => Promise.reject(refusal) }])
    await expect(openStateDir({ exec, files: { ...files, ...rest } }, stateDir)).rejects.toMatchObject({
      code: 'START',
      message: `--state-dir: ${stateDir} cannot be used: ${advice}`,
    });
});

test('a marker that cannot be read is named, with what to do', async () => {
  fill('ledger.jsonl', 'furiwake-state/');
  for (const use of [openStateDir, deleteState])
    await expect(use(disk, stateDir)).rejects.toMatchObject({
      code: 'START',
      message: expect.stringMatching(
        /furiwake-state cannot be read \(illegal operation on a directory\): repair the disk or, .* replace the marker by an empty file$/,
      ),
    });
  rmSync(`${stateDir}/furiwake-state`, { recursive: true });
  writeFileSync(`${stateDir}/furiwake-state`, '');
  await openStateDir(disk, stateDir);
});

test('a running furiwake looks for its marker every five seconds, and for its other files each half minute', async () => {
  const [texts, log, clock] = [new Map([['/state/furiwake-state', '']]), recordLog(), virtualClock()];
  const stop = new AbortController();
  const inMemory = filesOf(texts);
  let [restores, failure]: [number, Error | undefined] = [0, undefined];
  let attempts = 0;
  const exists: Files['exists'] = (file) => {
    attempts++;
    return failure === undefined ? inMemory.exists(file) : Promise.reject(failure);
  };
  const restore = async (): Promise<readonly string[]> => (restores++ === 0 ? ['/state/drains.jsonl'] : []);
  const running = Promise.allSettled([
    keepStateDir(
      { stateDir: '/state', folders: [], restore },
      { files: { ...inMemory, exists }, clock, log },
      stop.signal,
    ),
  ]);
  let told = 0;
  const words = (): readonly string[] => {
    const lines = log.lines.slice(told);
    told = log.lines.length;
    return lines.map(({ level, message }) => `${level} ${message}`);
  };
  await clock.advance(29_000);
  expect(restores).toBe(0);
  await clock.advance(2_000);
  expect(restores).toBe(1);
  expect(words()).toEqual(['warn files of furiwake were removed; it wrote them again']);
  texts.clear();
  await clock.advance(5_000);
  expect([restores, texts.has('/state/furiwake-state')]).toEqual([2, true]);
  expect(words()).toEqual([
    'error the state directory /state was lost; furiwake writes it again, and traffic continues',
  ]);
  failure = new Error('EIO: i/o error, lstat');
  attempts = 0;
  await clock.advance(600_000);
  expect([attempts > 5, attempts < 20]).toEqual([true, true]);
  failure = undefined;
  await clock.advance(60_000);
  const failing = 'error looking for lost files of the state directory failed; retrying';
  expect(words()).toEqual([
    ...Array.from({ length: 4 }, () => failing), // reminders at growing intervals
    'info looking for lost files of the state directory works again',
  ]);
  stop.abort();
  await running;
});

test('a running furiwake logs that a folder was opened to other users, and when it is closed again', async () => {
  const [log, clock, stop] = [recordLog(), virtualClock(), new AbortController()];
  const inMemory = filesOf(new Map([['/state/furiwake-state', '']]));
  const modes = new Map([
    ['/state', 0o700],
    ['/run/furiwake', 0o755],
    ['/run/furiwake/net-1', 0o700],
  ]);
  const stat: Files['stat'] = async (at) => ({ isFolder: true, uid: 0, mode: modes.get(at) ?? 0o777 });
  const folders = ['/run/furiwake', '/run/furiwake/net-1'];
  const restore = async (): Promise<readonly string[]> => [];
  const running = Promise.allSettled([
    keepStateDir({ stateDir: '/state', folders, restore }, { files: { ...inMemory, stat }, clock, log }, stop.signal),
  ]);
  await clock.advance(120_000);
  expect(log.lines).toEqual([]);
  modes.set('/run/furiwake', 0o777);
  await clock.advance(60_000);
  modes.set('/run/furiwake', 0o755);
  await clock.advance(60_000);
  expect(log.lines).toMatchObject([
    {
      level: 'error',
      message: 'keeping the folders of furiwake closed to other users failed; retrying',
      fields: { err: { message: expect.stringContaining('/run/furiwake is not safe: users other than root') } },
    },
    { level: 'info', message: 'keeping the folders of furiwake closed to other users works again' },
  ]);
  stop.abort();
  await running;
});

test('an error without relation to the disk stays as it is', () => {
  const end = new DOMException('ended by SIGTERM', 'AbortError');
  expect(() => refuseStateDir('/x', end)).toThrow(end);
});
