import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { noPrograms } from '../../test/sim/harness.ts';
import { systemExec } from '../main/node/exec.ts';
import { systemFiles } from '../main/node/files.ts';
import { type Exec, ExecError } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';
import { findHolder, type LockHolder, lockHost } from './host-lock.ts';

const { signal } = new AbortController();
const first: LockHolder = { command: 'run', pid: 11, stateDir: '/var/lib/furiwake' };
const second: LockHolder = { command: 'cleanup', pid: 12, stateDir: '/var/lib/other' };

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'furiwake-lock-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/**
 * A host with a separate lock folder, where `ss` prints `sockets`. The files belong to root, whichever user runs the
 * test.
 */
function makeHost(sockets = '', rest: Partial<Files> = {}): Parameters<typeof lockHost>[1] {
  const stat: Files['stat'] = async (at) => {
    const found = await systemFiles.stat(at);
    return found && { ...found, uid: 0 };
  };
  const exec: Exec = { ...noPrograms, run: async () => ({ stdout: sockets, stderr: '' }) };
  return {
    files: { ...systemFiles, stat, ...rest },
    exec,
    newId: randomUUID,
    runFolder: path.join(folder, randomUUID()),
  };
}

test('one instance holds a host, with any state directory; the error of the next one names it, and the next one succeeds after it', async () => {
  const host = makeHost();
  expect(await findHolder(host, signal)).toBeUndefined();
  const lock = await lockHost(first, host, signal);
  expect(await findHolder(host, signal)).toEqual(first);
  await expect(lockHost(second, host, signal)).rejects.toMatchObject({
    code: 'START',
    message:
      'furiwake is already running on this host (PID 11, state directory /var/lib/furiwake). Stop it first: only one instance per host is supported.',
  });
  await lock[Symbol.asyncDispose]();
  expect(await host.files.list(host.runFolder)).toEqual([]);
  await using _lock = await lockHost(second, host, signal);
  expect(await findHolder(host, signal)).toEqual(second);
  await expect(lockHost(first, host, signal)).rejects.toThrow('furiwake cleanup is running on this host (PID 12).');
});

test('a read-only /run is one line that says what must be', async () => {
  const readOnly = Object.assign(new Error("EROFS: read-only file system, mkdir '/run/furiwake'"), { errno: -30 });
  const host = makeHost('', { makeFolder: () => Promise.reject(readOnly) });
  await expect(lockHost(first, host, signal)).rejects.toMatchObject({
    code: 'START',
    message: `${host.runFolder} cannot be used: it must be a folder in which root can create files and sockets (read-only file system)`,
  });
});

test.each([
  ['cleanup', []],
  ['run', ['net-1']],
] as const)('after %s, the root of the lock has %j', async (command, left) => {
  const lockRoot = path.join(folder, command);
  const host = { ...makeHost(), exec: systemExec, runFolder: path.join(lockRoot, 'net-1') };
  const lock = await lockHost({ ...first, command }, host, signal);
  await lock[Symbol.asyncDispose]();
  expect(await systemFiles.list(lockRoot)).toEqual(left);
  expect(await systemFiles.exists(lockRoot)).toBe(left.length > 0);
});

test('of many that start at the same time at most one succeeds', async () => {
  const host = makeHost();
  const starts = Array.from({ length: 8 }, (_, pid) => lockHost({ ...first, pid }, host, signal));
  const locks = (await Promise.allSettled(starts)).flatMap((start) =>
    start.status === 'fulfilled' ? [start.value] : [],
  );
  expect(locks.length).toBeLessThanOrEqual(1);
  for (const lock of locks) await lock[Symbol.asyncDispose]();
});

test('the lock outlives the signal that ends the process, until the process releases it', async () => {
  const host = makeHost();
  const end = new AbortController();
  await using _lock = await lockHost(first, host, end.signal);
  end.abort();
  await expect(lockHost(second, host, signal)).rejects.toThrow('PID 11');
});

test('a lock whose folder was removed is there again after `restore`', async () => {
  const host = makeHost();
  await using lock = await lockHost(first, host, signal);
  expect(await lock.restore()).toEqual([]);
  rmSync(host.runFolder, { recursive: true });
  expect(await findHolder(host, signal).catch(() => undefined)).toBeUndefined();
  const [restored] = await lock.restore();
  expect(restored).toMatch(`${host.runFolder}/`);
  expect(await findHolder(host, signal)).toEqual(first);
  await expect(lockHost(second, host, signal)).rejects.toThrow('PID 11');
});

test('an instance that started while the folder was lost is reported until it ends', async () => {
  const host = makeHost();
  await using lock = await lockHost(first, host, signal);
  rmSync(host.runFolder, { recursive: true });
  const other = await lockHost(second, host, signal);
  for (let time = 0; time < 2; time++)
    await expect(lock.restore()).rejects.toThrow('furiwake cleanup is running on this host (PID 12)');
  await other[Symbol.asyncDispose]();
  expect(await lock.restore()).toEqual([]);
});

test('the socket of a dead process is removed', async () => {
  const host = makeHost();
  await host.files.makeFolder(host.runFolder);
  const gone = createServer();
  gone.listen({ path: path.join(host.runFolder, 'gone.sock') });
  await once(gone, 'listening');
  renameSync(path.join(host.runFolder, 'gone.sock'), path.join(host.runFolder, 'stale.sock')); // or `close` removes it
  gone.close();
  await once(gone, 'close');
  expect(await host.files.list(host.runFolder)).toEqual(['stale.sock']);
  await using _lock = await lockHost(first, host, signal);
  expect(await host.files.list(host.runFolder)).toHaveLength(1);
});

test('an instance that does not answer still holds the host', async () => {
  const host = makeHost();
  await host.files.makeFolder(host.runFolder);
  const mute = createServer((connection) => connection.end('not HTTP'));
  mute.listen({ path: path.join(host.runFolder, 'mute.sock') });
  await once(mute, 'listening');
  await expect(lockHost(first, host, signal)).rejects.toThrow('already running on this host, and does not answer');
  mute.close();
});

test('a folder in which another user can create files is refused', async () => {
  for (const found of [
    { isFolder: true, uid: 1000, mode: 0o700 },
    { isFolder: true, uid: 0, mode: 0o777 },
    { isFolder: false, uid: 0, mode: 0o600 },
  ])
    await expect(lockHost(first, makeHost('', { stat: async () => found }), signal)).rejects.toMatchObject({
      code: 'START',
    });
});

const line = (name: string): string => `u_str LISTEN 0      511    ${name} 142131 * 0 users:(("node",pid=175,fd=19))\n`;

/** The outcome of the lock on a host whose `ss` prints `sockets`, where process 175 belongs to `uid`. */
async function lockBeside(sockets: string, uid: number): Promise<string> {
  const read: Files['read'] = async (at) =>
    at === '/proc/175/status' ? `Name:\tnode\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\n` : systemFiles.read(at);
  try {
    await using _lock = await lockHost(first, makeHost(sockets, { read }), signal);
    return 'locked';
  } catch (error) {
    return (error as Error).message;
  }
}

const refusal = 'an earlier release of furiwake is running on this host (PID 175)';

test.each([
  ['an earlier release', '@furiwake', 0, refusal],
  ['an earlier release with a padded name', `@furiwake${'@'.repeat(99)}`, 0, refusal],
  ['a process of another user with the name of the earlier lock', '@furiwake', 65_534, 'locked'],
  ['a socket of another name', '@furiwake-test', 0, 'locked'],
])('the lock beside %s', async (_, name, uid, words) => {
  expect(await lockBeside(line(name), uid)).toContain(words);
});

test('a host without ss has never had an earlier release', async () => {
  const run = (): Promise<never> => Promise.reject(new ExecError('ss', undefined, 'ENOENT'));
  const host = { ...makeHost(), exec: { ...noPrograms, run } };
  await using _lock = await lockHost(first, host, signal);
  expect(await findHolder(host, signal)).toEqual(first);
});
