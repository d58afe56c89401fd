import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { changing, kubeconfigOf } from '../../test/make/kubeconfig.ts';
import { makePki } from '../../test/make/pki.ts';

const { signal } = new AbortController();

const folder = mkdtempSync(path.join(tmpdir(), 'furiwake-pki-'));
const mine = makePki(folder, 'mine');
afterAll(() => rmSync(folder, { recursive: true }));

const base64 = (text: string): string => Buffer.from(text).toString('base64');

test('a token file takes precedence over a token, and is read again after a minute or when it is rejected', async () => {
  const {
    config: of,
    files,
    clock,
  } = await changing(kubeconfigOf({ token: 'static', tokenFile: '/token' }), {
    '/token': 'one\n',
  });
  const { credentials } = of;
  const first = await credentials.current(signal);
  files.set('/token', 'two\n');
  await clock.advance(59_000);
  expect((await credentials.current(signal)).token).toBe('one');
  expect((await credentials.refresh(first, signal)).token).toBe('two');
  files.set('/token', 'three\n');
  await clock.advance(61_000);
  expect((await credentials.current(signal)).token).toBe('three');
  files.delete('/token'); // in the middle of a rotation
  await clock.advance(61_000);
  expect((await credentials.current(signal)).token).toBe('three');
  const third = await credentials.current(signal);
  await clock.advance(1_000);
  await expect(credentials.refresh(third, signal)).rejects.toThrow('/token: no such file');
});

test('a kubeconfig that is replaced is in use after a minute, at once after a 401, and at once after a reload', async () => {
  const { config: of, files, clock } = await changing(kubeconfigOf({ token: 'one' }));
  const { credentials } = of;
  const first = await credentials.current(signal);
  files.set('/c', kubeconfigOf({ token: 'two' }));
  await clock.advance(1_000);
  expect((await credentials.current(signal)).token).toBe('one');
  expect((await credentials.refresh(first, signal)).token).toBe('two');
  files.set('/c', kubeconfigOf({ token: 'three' }, { 'certificate-authority-data': base64(mine.ca) }));
  await clock.advance(60_000);
  expect(await credentials.current(signal)).toMatchObject({ token: 'three', ca: mine.ca });
  files.set('/c', kubeconfigOf({ 'client-certificate-data': base64(mine.cert), 'client-key-data': base64(mine.key) }));
  await credentials.reload(signal);
  expect(await credentials.current(signal)).toEqual({
    cert: mine.cert,
    key: mine.key,
    token: undefined,
    ca: undefined,
  });
});

test('a replaced kubeconfig that is broken, or of another server, changes nothing and is logged at growing intervals', async () => {
  const { config: of, files, clock, log } = await changing(kubeconfigOf({ token: 'one' }));
  const { credentials } = of;
  files.set('/c', 'garbage');
  await clock.advance(60_000);
  expect((await credentials.current(signal)).token).toBe('one');
  await expect(credentials.reload(signal)).rejects.toThrow('/c is not a kubeconfig');
  files.set('/c', kubeconfigOf({ token: 'stolen' }, { server: 'https://elsewhere' }));
  await expect(credentials.reload(signal)).rejects.toThrow(/another server .*restart furiwake/);
  for (let minute = 0; minute < 10; minute += 1) {
    await clock.advance(60_000);
    expect((await credentials.current(signal)).token).toBe('one');
  }
  const warnings = log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message);
  expect(new Set(warnings)).toEqual(new Set(['renewing the credentials failed; retrying']));
  expect(warnings.length).toBeLessThan(7);
  files.set('/c', kubeconfigOf({ token: 'two' }));
  await clock.advance(300_000);
  expect((await credentials.current(signal)).token).toBe('two');
});

test('a reload that fails is reported by its caller alone; the next renewal by itself', async () => {
  const { config: of, files, clock, log } = await changing(kubeconfigOf({ token: 'one' }));
  const { credentials } = of;
  await credentials.current(signal);
  files.set('/c', 'garbage');
  await expect(credentials.reload(signal)).rejects.toThrow('/c is not a kubeconfig');
  expect(log.lines).toEqual([]);
  await clock.advance(60_000);
  expect((await credentials.current(signal)).token).toBe('one');
  expect(log.lines.map(({ message }) => message)).toEqual(['renewing the credentials failed; retrying']);
});

test('however often the server answers 401, files are read at most once a second', async () => {
  const { config: of, files, clock } = await changing(kubeconfigOf({ token: 'one' }));
  const { credentials } = of;
  let used = await credentials.current(signal);
  let loads = 0;
  for (let request = 0; request < 50; request += 1) {
    await clock.advance(100);
    files.set('/c', kubeconfigOf({ token: `t${request}` }));
    const next = await credentials.refresh(used, signal);
    if (next !== used) loads += 1;
    used = next;
  }
  expect(loads).toBeLessThanOrEqual(5);
});
