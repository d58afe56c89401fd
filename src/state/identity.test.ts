import { expect, test } from 'vitest';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import type { Files } from '../ports/files.ts';
import { type IdentityFile, makeIdentityFile } from './identity.ts';

const path = '/state/identity.jsonl';

function open(
  texts: Map<string, string>,
  { log = recordLog(), ...files }: Partial<Files> & { log?: ReturnType<typeof recordLog> } = {},
): IdentityFile {
  return makeIdentityFile({ path, earlierPath: '/state/identity', files: { ...filesOf(texts), ...files }, log });
}

test('the identity is the same after a restart', async () => {
  const texts = new Map<string, string>();
  expect(await open(texts).read()).toBeUndefined();
  await open(texts).write('lb1_a');
  expect(await open(texts).read()).toBe('lb1_a');
  expect(texts.get(path)).toBe('{"file":"identity","version":1}\n{"name":"lb1_a"}\n');
});

test('a restart does not write the identity again, so a full disk does not stop it', async () => {
  const texts = new Map<string, string>();
  await open(texts).write('lb1_a');
  const restarted = open(texts, { write: () => Promise.reject(new Error('ENOSPC')) });
  await restarted.write((await restarted.read()) ?? '');
  await expect(restarted.write('lb1_b')).rejects.toThrow('ENOSPC');
});

test('an identity of a newer release is refused by name', async () => {
  const texts = new Map([[path, '{"file":"identity","version":2}\n{"id":"lb1_a"}\n']]);
  await expect(open(texts).read()).rejects.toMatchObject({ code: 'NEWER_FILE' });
});

test('a damaged identity is logged with its line number, and counts as none', async () => {
  const log = recordLog();
  const texts = new Map([[path, '{"file":"identity","version":1}\n{"name":""}\n']]);
  expect(await open(texts, { log }).read()).toBeUndefined();
  expect(log.lines).toMatchObject([{ level: 'error', fields: { file: `${path}:2` } }]);
});
