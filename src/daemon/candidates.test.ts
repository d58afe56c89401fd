import { expect, test } from 'vitest';
import { runFor } from '../../test/make/run-for.ts';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { Files } from '../ports/files.ts';
import { type Candidates, loadCandidates } from './candidates.ts';

const path = '/state/candidates.jsonl';

function load(files: Files, { log = recordLog(), clock = virtualClock() } = {}): Promise<Candidates> {
  return loadCandidates({ path, files, clock, log });
}

test('a host is alone until it has seen another one, and never again after that, even across restarts', async () => {
  const texts = new Map<string, string>();
  const first = await load(filesOf(texts));
  expect(first.hasOthers()).toBe(false);
  for (const identity of ['lb2_a', 'lb3_b', 'lb2_a']) first.add(identity);
  expect(first.hasOthers()).toBe(true);
  await runFor(first, virtualClock());
  expect((await load(filesOf(texts))).hasOthers()).toBe(true);
  expect(texts.get(path)).toContain('{"identity":"lb2_a","seen":"2026-01-01T00:00:00.000Z"}');
});

test('a full disk is logged once, and the other host is recorded as soon as there is space', async () => {
  const texts = new Map<string, string>();
  const files = filesOf(texts);
  const [log, clock] = [recordLog(), virtualClock()];
  const freeAtMs = clock.monotonic() + 30_000;
  const write: Files['write'] = (at, text) =>
    clock.monotonic() < freeAtMs ? Promise.reject(new Error('ENOSPC')) : files.write(at, text);
  const candidates = await load({ ...files, write }, { log, clock });
  candidates.add('lb2_a');
  expect(candidates.hasOthers()).toBe(true);
  await runFor(candidates, clock, 59_000);
  expect(texts.get(path)).toContain('lb2_a');
  expect(log.lines).toMatchObject([
    { level: 'error', message: expect.stringMatching(/^recording that another host serves this class failed/) },
    { level: 'info' },
  ]);
});

test('the undamaged lines of a file still count; a file of a newer release is refused', async () => {
  const texts = new Map([
    [path, '{"file":"candidates","version":1}\n{"identity":\n{"identity":"lb2_a","seen":"2026"}\n'],
  ]);
  const log = recordLog();
  expect((await load(filesOf(texts), { log })).hasOthers()).toBe(true);
  expect(log.lines).toHaveLength(1);
  texts.set(path, '{"file":"candi'); // a crash cut it short: which host it was is lost, but not that there was one
  expect((await load(filesOf(texts))).hasOthers()).toBe(true);
  texts.set(path, '{"file":"candidates","version":2}\n');
  await expect(load(filesOf(texts))).rejects.toMatchObject({ code: 'NEWER_FILE' });
});
