import { spawnSync } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { reasonOf, searchPath, systemExec } from './exec.ts';

const { signal } = new AbortController();

test.each([
  ['exits with a code', 'exit 3', 'sh: exit code 3'],
  ['prints the cause', 'echo "no luck" >&2; exit 3', 'sh: no luck'],
  ['is killed', 'kill -9 $$', 'sh: ended by SIGKILL'],
  ['is killed after a notice', 'echo "starting" >&2; kill -9 $$', 'sh: ended by SIGKILL\nstarting'],
])('the error of a program that %s has no arguments, which may be secrets', async (_, script, message) => {
  const args = ['-c', script, '--token=secret'];
  const error = await systemExec.run('sh', args, { signal }).catch((cause: unknown) => cause);
  expect(error).toMatchObject({ name: 'ExecError', message });
  expect(inspect(error)).not.toContain('secret');
});

test('a program that ignores SIGTERM is ended at its deadline', async () => {
  const script = 'trap "" TERM; while :; do sleep 0.1; done';
  await expect(systemExec.run('sh', ['-c', script], { signal, timeoutMs: 200 })).rejects.toThrow(
    /^sh: timed out after 200 ms$/,
  );
});

test.each(['true', '/nowhere/program'])(
  'nothing stays at the signal of %s after it has ended, or has not begun',
  async (file) => {
    const stop = new AbortController();
    await systemExec.run(file, [], { signal: stop.signal }).catch(() => undefined);
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
    await using program = systemExec.spawn(file, [], stop.signal);
    expect(getEventListeners(stop.signal, 'abort')).toHaveLength(1);
    await program.exited;
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  },
);

test('too much output, and a program that reads no more input, have words of their own', async () => {
  const endless = systemExec.run('sh', ['-c', 'exec yes'], { signal });
  await expect(endless).rejects.toThrow(/^sh: more than 64 MiB of output$/);
  await using deaf = systemExec.spawn('sh', ['-c', 'exec <&-; echo closed; exec sleep 60'], signal);
  for await (const line of deaf.lines) if (line === 'closed') break;
  await expect(deaf.write('x\n')).rejects.toThrow('sh: it reads no more input');
});

test('a program that does not exist is said to be not found', async () => {
  await expect(systemExec.run('no-such-program', ['--token=secret'], { signal: signal })).rejects.toMatchObject({
    message: 'no-such-program: not found',
    isMissing: true,
  });
});

test.each([
  ['EAGAIN', /may have no more processes$/],
  ['ENOMEM', /out of memory$/],
])('a program that cannot be started (%s) is said not to be', (code, words) => {
  expect(reasonOf({ name: 'Error', code, message: `spawn nft ${code}` }, 1_000)).toMatch(words);
});

test('a program that a signal ends says so, unless it has said why itself', async () => {
  const wordsOf = async (script: string): Promise<string> => {
    await using program = systemExec.spawn('sh', ['-c', script], signal);
    await program.exited;
    return (await program.takeErrors()).trim();
  };
  expect(await wordsOf('kill -9 $$')).toBe('ended by SIGKILL');
  expect(await wordsOf('echo no space >&2; kill -9 $$')).toBe('no space');
});

test('the errors of a program include those before the last line that was read', async () => {
  const script = 'echo first; read go; echo words >&2; echo second; : > "$0"; read end';
  await using folder = await mkdtempDisposable(join(tmpdir(), 'furiwake-exec-'));
  const written = join(folder.path, 'written');
  await using program = systemExec.spawn('sh', ['-c', script, written], signal);
  const lines = program.lines[Symbol.asyncIterator]();
  expect(await lines.next()).toMatchObject({ value: 'first' });
  const sent = program.write('go\n');
  spawnSync('sh', ['-c', 'until [ -e "$0" ]; do sleep 0.01; done', written], { timeout: 10_000 }); // holds up the loop
  await sent;
  expect(await lines.next()).toMatchObject({ value: 'second' });
  expect(await program.takeErrors()).toBe('words\n');
});

test('without a free file descriptor a program fails to start, and this process continues', async () => {
  const script = `
    import { openSync } from 'node:fs';
    import { setImmediate } from 'node:timers/promises';
    import { systemExec } from ${JSON.stringify(new URL('exec.ts', import.meta.url).href)};
    const { signal } = new AbortController();
    try { for (;;) openSync('/dev/null'); } catch {}
    const words = (error) => error.message;
    const ran = await systemExec.run('true', [], { signal }).catch(words);
    let spawned;
    try { systemExec.spawn('true', [], signal); } catch (error) { spawned = words(error); }
    await setImmediate(); // the error of the child is emitted meanwhile
    process.stdout.write(JSON.stringify([ran, spawned]));`;
  const limited = 'ulimit -n 40; exec "$0" --input-type=module -e "$1"';
  const { stdout } = await systemExec.run('sh', ['-c', limited, process.execPath, script], { signal });
  expect(JSON.parse(stdout)).toEqual(['true: too many open files', 'true: too many open files']);
});

test.each([
  [undefined, '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin'],
  ['', '/usr/local/sbin:/usr/sbin:/sbin'],
  ['/opt/node/bin::/usr/bin:', '/opt/node/bin:/usr/bin:/usr/local/sbin:/usr/sbin:/sbin'],
  ['.:bin:/usr/sbin', '/usr/sbin:/usr/local/sbin:/sbin'],
])('PATH %j never includes the current directory', (path, expected) => {
  expect(searchPath(path)).toBe(expected);
});
