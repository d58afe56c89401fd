import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const script = fileURLToPath(new URL('../../../test/make/signals-child.ts', import.meta.url));

test('SIGHUP reads files again, SIGUSR1 opens no debugger, SIGUSR2 is ignored, SIGTERM ends in order', async () => {
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'pipe'] });
  const exit = once(child, 'exit');
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => (await lines.next()).value;
  expect(await next()).toBe('ready');
  for (const [signal, words] of [
    ['SIGUSR1', 'SIGUSR1 ignored: it has no meaning for furiwake'],
    ['SIGUSR2', 'SIGUSR2 ignored: it has no meaning for furiwake'],
    ['SIGHUP', 'SIGHUP: reading the credentials again'],
  ] as const) {
    child.kill(signal);
    expect(await next()).toBe(words);
  }
  expect(await next()).toBe('reload');
  child.kill('SIGTERM');
  expect(await next()).toBe('interrupted by SIGTERM');
  expect(await exit).toEqual([0, null]);
  expect(complaints).not.toMatch(/debugger/i);
});

test('with the flags of the bundle SIGUSR1 is ignored without a line, and opens no debugger', async () => {
  const child = spawn(process.execPath, ['--disable-sigusr1', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  const exit = once(child, 'exit');
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => (await lines.next()).value;
  expect(await next()).toBe('ready');
  child.kill('SIGUSR1');
  child.kill('SIGTERM');
  expect(await next()).toBe('interrupted by SIGTERM');
  expect(await exit).toEqual([0, null]);
  expect(complaints).toBe('');
});

test('a second signal ends a process whose end takes long', async () => {
  const child = spawn(process.execPath, [script, 'long'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => (await lines.next()).value;
  expect(await next()).toBe('ready');
  child.kill('SIGTERM');
  expect(await next()).toBe('interrupted by SIGTERM');
  child.kill('SIGINT');
  const late = setTimeout(() => child.kill('SIGKILL'), 60_000);
  expect(await exit).toEqual([1, null]);
  clearTimeout(late);
});
