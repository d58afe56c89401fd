import { expect, test } from 'vitest';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { Files } from '../ports/files.ts';
import { type Candidates, loadCandidates } from './candidates.ts';

const path = '/state/candidates.jsonl';

function load(files: Files, log = recordLog()): Promise<Candidates> {
  return loadCandidates({ path, files, clock: virtualClock(), log });
}

test('a host is alone until it has seen another one, and never again after that, even across restarts', async () => {
  const texts = new Map<string, string>();
  const first = await load(filesOf(texts));
  expect(first.hasOthers()).toBe(false);
  await Promise.all([first.add('lb2_a'), first.add('lb3_b'), first.add('lb2_a')]);
  expect(first.hasOthers()).toBe(true);
  expect((await load(filesOf(texts))).hasOthers()).toBe(true);
  expect(texts.get(path)).toContain('{"identity":"lb2_a","seen":"2026-01-01T00:00:00.000Z"}');
});

test('a failing disk is logged; the other host is remembered until the process ends, and written with the next one', async () => {
  const texts = new Map<string, string>();
  const files = filesOf(texts);
  let isFull = true;
  const log = recordLog();
  const candidates = await load(
    { ...files, write: (at, text) => (isFull ? Promise.reject(new Error('ENOSPC')) : files.write(at, text)) },
    log,
  );
  await candidates.add('lb2_a');
  expect(candidates.hasOthers()).toBe(true);
  expect(log.lines).toMatchObject([
    { level: 'error', message: 'could not record that another host serves this class', fields: { identity: 'lb2_a' } },
  ]);
  isFull = false;
  await candidates.add('lb3_b');
  expect(texts.get(path)).toContain('lb2_a');
});

test('the undamaged lines of a file still count; a file of a newer release is refused', async () => {
  const texts = new Map([
    [path, '{"file":"candidates","version":1}\n{"identity":\n{"identity":"lb2_a","seen":"2026"}\n'],
  ]);
  const log = recordLog();
  expect((await load(filesOf(texts), log)).hasOthers()).toBe(true);
  expect(log.lines).toHaveLength(1);
  texts.set(path, '{"file":"candidates","version":2}\n');
  await expect(load(filesOf(texts))).rejects.toMatchObject({ code: 'NEWER_FILE' });
});

test('hosts that are seen at the same time are written one after the other', async () => {
  const files = filesOf(new Map());
  let underWay = 0;
  let most = 0;
  const slowly: typeof files.write = async (at, text) => {
    most = Math.max(most, ++underWay);
    await files.write(at, text);
    underWay--;
  };
  const candidates = await load({ ...files, write: slowly, append: slowly });
  await Promise.all(['lb2_a', 'lb3_b', 'lb4_c'].map((identity) => candidates.add(identity)));
  expect(most).toBe(1);
});
