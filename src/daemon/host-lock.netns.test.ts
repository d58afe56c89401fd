import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type NetLab, startNetLab } from '../../test/netns/net-lab.ts';
import { systemFiles as files } from '../main/node/files.ts';
import { type LockHolder, lockHost } from './host-lock.ts';

const { signal } = new AbortController();
const holder: LockHolder = { command: 'run', pid: 11, stateDir: '/var/lib/furiwake' };
let lab: NetLab;
let folder: string;

beforeAll(async () => {
  lab = await startNetLab({ nodes: 0 });
  folder = mkdtempSync(path.join(tmpdir(), 'furiwake-lock-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await lab[Symbol.asyncDispose]();
});

/** The outcome of the lock while a process of `uid` listens on the abstract socket of release 0.1.0. */
async function lockBesideListener(uid: number): Promise<string> {
  const listen = String.raw`
    process.setgid(${uid}); process.setuid(${uid});
    require('node:net').createServer().listen('\0furiwake', () => console.log(process.pid));`;
  await using listener = lab.balancer.execPort.spawn(process.execPath, ['--eval', listen], signal);
  const { value } = await listener.lines[Symbol.asyncIterator]().next();
  try {
    const deps = { files, exec: lab.balancer.execPort, newId: randomUUID, runFolder: path.join(folder, String(uid)) };
    await using _lock = await lockHost(holder, deps, signal);
    return 'locked';
  } catch (error) {
    return (error as Error).message.replace(String(value), 'N');
  }
}

test('a process of another user with the name of the earlier lock does not block furiwake', async () => {
  expect(await lockBesideListener(65_534)).toBe('locked');
});

test('a running earlier release is detected by its socket', async () => {
  expect(await lockBesideListener(0)).toMatch(/^an earlier release of furiwake is running on this host \(PID N\)/);
});

test('a running instance whose socket was removed is found, also by a start with another state directory', async () => {
  const runFolder = path.join(folder, 'lost');
  const name = `${runFolder}/${randomUUID()}.sock`;
  await files.makeFolder(runFolder);
  const listen = `require('node:net').createServer().listen('${name}', () => console.log(process.pid))`;
  const deps = { files, exec: lab.balancer.execPort, newId: randomUUID, runFolder };
  const lock = (): Promise<AsyncDisposable> => lockHost({ ...holder, stateDir: '/var/lib/other' }, deps, signal);
  {
    await using listener = lab.balancer.execPort.spawn(process.execPath, ['--eval', listen], signal);
    await listener.lines[Symbol.asyncIterator]().next();
    await files.remove(name);
    await expect(lock()).rejects.toThrow(`(PID ${listener.pid}), and its socket in ${runFolder} was removed`);
    expect(await files.list(runFolder)).toEqual([]);
  }
  await using _lock = await lock();
});
