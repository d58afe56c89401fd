import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const program = fileURLToPath(new URL('furiwake.ts', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'furiwake-last-line-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs `furiwake run` with a kubeconfig that does not exist; its output. */
function runWithout(...flags: readonly string[]): {
  readonly status: number | null;
  readonly lines: readonly string[];
} {
  const args = [program, 'run', '--kubeconfig', path.join(folder, 'none'), '--state-dir', folder, ...flags];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 30_000 });
  return { status, lines: stderr.trimEnd().split('\n') };
}

test('in JSON each line of the log is an object, also the one that says why run ended', () => {
  const { status, lines } = runWithout('--log-format', 'json');
  expect(status).toBe(1);
  expect(lines.map((line) => JSON.parse(line) as unknown).at(-1)).toMatchObject({ level: 'error' });
});

test('in text the last line is one of the log, too', () => {
  const { status, lines } = runWithout('--log-format', 'text');
  expect(status).toBe(1);
  expect(lines.at(-1)).toContain('ERROR');
});

test('output that a full disk refuses is reported in the words of the system', () => {
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = spawnSync(process.execPath, [program, '--help'], {
    encoding: 'utf8',
    stdio: ['ignore', full, 'pipe'],
    timeout: 30_000,
  });
  closeSync(full);
  expect([status, stderr]).toEqual([1, 'error: cannot write to standard output: no space left on device\n']);
});
