import { expect, test } from 'vitest';
import { lines } from './lines.ts';
import { processOf } from './processes.ts';

const env = { PATH: process.env['PATH'] ?? '' };
const { signal } = new AbortController();

test('gives the lines of a command, the last without a newline too', async () => {
  const seen: string[] = [];
  for await (const line of lines(['printf', 'one\\ntwo'], env, signal)) seen.push(line);
  expect(seen).toEqual(['one', 'two']);
});

test('the command ends when nobody listens any more', async () => {
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

test('a command that is not there is an error', async () => {
  await expect(lines(['furiwake-does-not-exist'], env, signal).next()).rejects.toThrow('ENOENT');
});
