import { expect, test } from 'vitest';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import { ok, problem } from './finding.ts';
import { makeInspect } from './inspect.ts';
import { makeScreen } from './screen.ts';

const { signal } = new AbortController();

function makeRig(columns: number | undefined, isColoured = false) {
  const written: string[] = [];
  const clock = virtualClock();
  const screen = makeScreen({ write: (text) => written.push(text), clock, columns, isColoured });
  return { written, clock, screen, inspect: makeInspect(screen, signal) };
}

/** A check that lasts for `seconds`, and what is written meanwhile and after it. */
async function lasting(seconds: number, columns: number | undefined): Promise<readonly string[]> {
  const { written, clock, inspect } = makeRig(columns);
  const done = inspect('API server', 'API server', async () => {
    await clock.sleep(seconds * 1_000 + 1, signal);
    return ok('there');
  });
  await clock.advance(seconds * 1_000 + 1);
  await done;
  await clock.advance(10_000);
  return written;
}

const heading = 'API server\n';
const line = '  ✓ API server           there\n';
const erase = '\r\u001b[K';

test.each([
  ['a short check says nothing meanwhile', 1, 80, [heading, line]],
  [
    'a check of more than two seconds is named with its time, on a line that is erased',
    3,
    80,
    [heading, `${erase}  … API server: 2 s`, `${erase}  … API server: 3 s`, erase, line],
  ],
  ['without a terminal nothing is erased', 3, undefined, [heading, line]],
])('%s', async (_, seconds, columns, written) => {
  expect(await lasting(seconds, columns)).toEqual(written);
});

test('each finding is written before the next check begins', async () => {
  const { written, inspect } = makeRig(undefined);
  await inspect('Kernel', 'nft', async () => ok('1.0.6'));
  await inspect('Kernel', 'TPROXY', async () => {
    expect(written.join('')).toBe('Kernel\n  ✓ nft                  1.0.6\n');
    return [];
  });
});

test('a check that is aborted leaves no progress behind', async () => {
  const { written, clock, screen } = makeRig(80);
  const end = new AbortController();
  const inspect = makeInspect(screen, end.signal);
  const done = inspect('Kernel', 'nft', () => clock.sleep(9_000, end.signal).then(() => []));
  await clock.advance(2_500);
  end.abort(new Error('ended by SIGTERM'));
  await expect(done).rejects.toThrow('ended by SIGTERM');
  expect(written.at(-1)).toBe(erase);
});

test('colours mark what needs a look, and only where they are wanted', async () => {
  const { written, inspect, screen } = makeRig(undefined, true);
  await inspect('Kernel', 'nft', async () => problem('not installed', 'install it'));
  screen.conclude();
  const text = written.join('');
  expect(text).toContain('\u001b[1mKernel\u001b[22m\n  \u001b[31m✗\u001b[39m nft');
  expect(text).toContain('\u001b[31mNot ready\u001b[39m: 1 problem, 0 checks passed.');
});

test('lines are broken between words to the width of the terminal', async () => {
  const { written, inspect } = makeRig(60);
  await inspect('Kernel', 'nft', async () => problem('word '.repeat(20).trim(), 'install '.repeat(9).trim()));
  const lines = written.join('').trimEnd().split('\n');
  expect(Math.max(...lines.map((each) => each.length))).toBeLessThanOrEqual(60);
  expect(lines[2]).toBe(`${' '.repeat(25)}word word word word word word word`);
  expect(lines.at(-1)).toBe(`${' '.repeat(27)}install`);
});

test('no escape sequence and no line break of what a check found reaches the terminal', async () => {
  const { written, inspect } = makeRig(undefined);
  await inspect('Kernel', 'nft', async () => ok('a\n\u001b[2Jb'));
  expect(written.at(-1)).toMatch(/ a \[2Jb\n$/);
});
