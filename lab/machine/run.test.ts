import { expect, test } from 'vitest';
import { processOf } from './processes.ts';
import { run } from './run.ts';

const { signal } = new AbortController();

test('a command gets its standard input and returns its output', async () => {
  expect(await run(['cat'], { signal, stdin: 'hello' })).toEqual({ stdout: 'hello', stderr: '' });
});

test('a failed command gives its exit code and its message', async () => {
  const failing = run(['ls', '/does-not-exist'], { signal });
  await expect(failing).rejects.toMatchObject({ code: 'EXEC_FAILED', exitCode: 2, stderr: /does-not-exist/ });
});

test('a missing command is an error', async () => {
  await expect(run(['furiwake-does-not-exist'], { signal })).rejects.toThrow('ENOENT');
});

test('a deadline ends the command with all its children', async () => {
  // The inner sleep keeps the pipes open: if the group did not end, this would last a minute.
  const script = 'sleep 60 & echo $! >&2; wait';
  const pids: string[] = [];
  const slow = run(['sh', '-c', script], { signal, timeoutMs: 200, onStderr: (text) => pids.push(text) });
  await expect(slow).rejects.toThrow('timed out after 200 ms');
  expect(await processOf(Number(pids[0]))).toBeUndefined();
});

test('an abort ends the command with the reason of the abort', async () => {
  const stop = new AbortController();
  const slow = run(['sleep', '60'], { signal: stop.signal });
  stop.abort(new Error('interrupted'));
  await expect(slow).rejects.toThrow('interrupted');
});
