import { expect, test } from 'vitest';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { RunningProgram } from '../ports/exec.ts';
import { makeLineDialogue } from './line-dialogue.ts';

const { signal } = new AbortController();

test.each<[string, Partial<Pick<RunningProgram, 'write' | 'lines'>>]>([
  ['does not read its input', { write: () => new Promise(() => undefined) }],
  ['does not answer', { lines: { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) } }],
])('a program that %s is ended at the deadline, and the next question starts another', async (_, stuck) => {
  const clock = virtualClock();
  const programs = { started: 0, ended: 0 };
  const start = (): RunningProgram => ({
    pid: ++programs.started,
    write: () => Promise.resolve(),
    lines: (async function* () {
      yield 'yes';
    })(),
    takeErrors: async () => '',
    exited: Promise.resolve(0),
    [Symbol.asyncDispose]: () => Promise.resolve(void programs.ended++),
    ...(programs.started === 1 ? stuck : {}),
  });
  const dialogue = makeLineDialogue({ name: 'oracle', start, answerMs: 5000, clock });
  const ask = (): Promise<string> => dialogue.ask('well?', async (lines) => (await lines.next()).value, signal);
  await expect(clock.drive(ask())).rejects.toThrow('deadline');
  expect([clock.monotonic(), programs]).toEqual([5000, { started: 1, ended: 1 }]);
  expect(await clock.drive(ask())).toBe('yes');
});
