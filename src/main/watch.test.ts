import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { jsonReply, serveHttp } from '../http/server.ts';

const program = fileURLToPath(new URL('furiwake.ts', import.meta.url));
const { signal } = new AbortController();
let folder: string;
let changes = 0;
let server: AsyncDisposable;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'furiwake-watch-'));
  const routes = { 'GET /status': async () => jsonReply({ changes: changes++ }) };
  server = await serveHttp({ path: path.join(folder, 'admin.sock') }, routes, signal);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** `furiwake status --watch` on a pipe, after its first block. */
async function startWatching(): Promise<{
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  readonly exit: Promise<unknown>;
  readonly complaints: () => string;
}> {
  const args = [program, 'status', '--watch', '--output', 'json', '--state-dir', folder];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const exit = once(child, 'exit');
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
  const [block] = (await once(child.stdout.setEncoding('utf8'), 'data')) as readonly unknown[];
  expect(block).toMatch(/^\{"changes":\d+\}\n$/);
  return { child, exit, complaints: () => complaints };
}

test.each(['SIGINT', 'SIGTERM'] as const)('%s ends a watch without a complaint', async (name) => {
  const { child, exit, complaints } = await startWatching();
  child.kill(name);
  expect(await exit).toEqual([0, null]);
  expect(complaints()).toBe('');
});

test('a watch whose reader is gone ends', async () => {
  const { child, exit, complaints } = await startWatching();
  child.stdout.destroy();
  expect(await exit).toEqual([0, null]);
  expect(complaints()).toBe('');
});
