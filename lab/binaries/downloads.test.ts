import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Download, download, readDownloads } from './downloads.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'downloads-'));
const output = path.join(folder, 'kubelet');
const program = Buffer.from('#!/bin/sh\necho I am a kubelet\n');
const sumOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const { signal } = new AbortController();

const server = createServer((request, response) => {
  const body = { '/kubelet': program, '/kubelet.tar.gz': archive }[request.url ?? ''];
  response.statusCode = body === undefined ? 404 : 200;
  response.end(body);
});
let archive: Buffer;
let base: string;

beforeAll(async () => {
  writeFileSync(path.join(folder, 'inside'), program);
  archive = execFileSync('tar', ['--create', '--gzip', '--directory', folder, 'inside']);
  rmSync(path.join(folder, 'inside'));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

const get = (more: Partial<Download>): Promise<string | undefined> =>
  download({ url: `${base}/kubelet`, sha256: sumOf(program), ...more }, output, () => undefined, signal);

test.each([
  ['a binary', () => ({})],
  ['a member of an archive', () => ({ url: `${base}/kubelet.tar.gz`, sha256: sumOf(archive), member: 'inside' })],
])('%s with the correct checksum is installed and can run', async (_, more) => {
  expect(await get(more())).toBeUndefined();
  expect(execFileSync(output, { encoding: 'utf8' })).toBe('I am a kubelet\n');
  expect(statSync(output).mode & 0o777).toBe(0o755);
  expect(readdirSync(folder)).toEqual(['kubelet']);
  rmSync(output);
});

test('one with a different checksum is never installed, and the error has both checksums', async () => {
  const wanted = 'a'.repeat(64);
  await expect(get({ sha256: wanted })).rejects.toMatchObject({
    code: 'WRONG_SUM',
    message: `${base}/kubelet has the SHA-256 ${sumOf(program)}, not ${wanted}: it is not used`,
  });
  expect(readdirSync(folder)).toEqual([]);
});

test('an archive without the member is a clear error', async () => {
  const wrong = get({ url: `${base}/kubelet.tar.gz`, sha256: sumOf(archive), member: 'outside' });
  await expect(wrong).rejects.toMatchObject({ code: 'BUILD_FAILED', message: expect.stringContaining('outside') });
  expect(readdirSync(folder)).toEqual([]);
});

test('an unreachable download is reported, because the binary can still be built', async () => {
  expect(await get({ url: `${base}/other` })).toBe(`${base}/other: HTTP 404`);
  expect(await get({ url: 'http://127.0.0.1:1/kubelet' })).toMatch(/^http:\/\/127\.0\.0\.1:1\/kubelet: \S/);
  expect(readdirSync(folder)).toEqual([]);
});

test('the file of downloads is read, and its faults are reported with their position', async () => {
  const file = path.join(folder, 'downloads.json');
  const one: Download = { url: 'https://example.com/kubelet', sha256: 'a'.repeat(64) };
  expect([...(await readDownloads(''))]).toEqual([]);
  writeFileSync(file, JSON.stringify({ kubelet: one }));
  expect([...(await readDownloads(file))]).toEqual([['kubelet', one]]);
  const faults = [{ sha256: 'short' }, { url: 'file:///etc/passwd' }, { member: '--to-command=sh' }, { extra: 1 }];
  for (const fault of faults) {
    writeFileSync(file, JSON.stringify({ kubelet: { ...one, ...fault } }));
    await expect(readDownloads(file)).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringMatching(/downloads\.json: [^]*kubelet/),
    });
  }
  writeFileSync(file, '{');
  await expect(readDownloads(file)).rejects.toMatchObject({ code: 'BAD_OPTION' });
  rmSync(file);
});
