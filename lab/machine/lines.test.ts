import { expect, test } from 'vitest';
import { lines } from './lines.ts';
import { processOf } from './processes.ts';

const env = { PATH: process.env['PATH'] ?? '' };
const { signal } = new AbortController();

test('yields the lines of a command, including a last one without a newline', async () => {
  const seen: string[] = [];
  for await (const line of lines(['printf', 'one\\ntwo'], env, signal)) seen.push(line);
  expect(seen).toEqual(['one', 'two']);
});

test('the command ends with its last reader', async () => {
  const endless = lines(['sh', '-c', 'echo $$; sleep 60'], env, signal);
  const first = await endless.next();
  await endless.return();
  const pid = Number(first.value);
  await expect.poll(() => processOf(pid)).toBeUndefined();
});

test('the command ends with the signal, and the iteration with its reason', async () => {
  const stop = new AbortController();
  const endless = lines(['sh', '-c', 'echo on; sleep 60'], env, stop.signal);
  await endless.next();
  stop.abort(new Error('interrupted'));
  await expect(endless.next()).rejects.toThrow('interrupted');
});

test('a missing command is an error', async () => {
  await expect(lines(['furiwake-does-not-exist'], env, signal).next()).rejects.toThrow('ENOENT');
});
