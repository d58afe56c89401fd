import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../../main/node/clock.ts';
import type { Clock } from '../../../ports/clock.ts';
import {
  isSuccess,
  makeRuntimeApi,
  packLines,
  type RuntimeApi,
  RuntimeError,
  splitAnswers,
  unixSockets,
} from './client.ts';

const { signal } = new AbortController();

/** A worker that answers `dialogue` after a quit, and records its input. */
async function worker(
  dialogue: string | undefined,
  clock: Clock = systemClock,
): Promise<{ runtime: RuntimeApi; told: string[]; server: Server; path: string }> {
  const folder = await mkdtemp(`${tmpdir()}/runtime-`);
  const path = `${folder}/sock`;
  const told: string[] = [];
  const server = createServer((socket) => {
    let text = '';
    socket.setEncoding('utf8').on('data', (part: string) => {
      text += part;
      if (!text.endsWith('quit\n') || dialogue === undefined) return;
      told.push(text);
      socket.end(dialogue);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(path, resolve);
  });
  onTestFinished(async () => {
    server.close();
    await rm(folder, { recursive: true });
  });
  return { runtime: makeRuntimeApi({ sockets: unixSockets({ clock }), path }), told, server, path };
}

test('answers are separated, even those that 2.6 ends without an empty line', () => {
  const dialogue =
    '\n> Already exists a server with the same name in backend.\n\n> entry not found.\n\n> \n> ' +
    'Only servers in maintenance mode can be deleted.\n> 0x55 a b\n0x56 c d\n\n> ';
  expect(splitAnswers(dialogue)).toEqual([
    'Already exists a server with the same name in backend.\n'.trim(),
    'entry not found.',
    '',
    'Only servers in maintenance mode can be deleted.',
    '0x55 a b\n0x56 c d',
  ]);
});

test('the prompts of a payload are not part of its answer', () => {
  expect(splitAnswers('\n> + + + \n> done\n\n> ')).toEqual(['', 'done']);
});

test.each(['', '\n', '\n> cut sh', '\n> a\n\n>', 'Permission denied\n'])(
  'an interrupted dialogue has no answers: %j',
  (text) => {
    expect(splitAnswers(text)).toBeUndefined();
  },
);

test('commands are sent as one line, and each answer is at the index of its command', async () => {
  const { runtime, told } = await worker('\n> \n> two\n\n> ');
  expect(await runtime.ask(['first', 'second'], signal)).toEqual(['', 'two']);
  expect(told).toEqual(['prompt\nfirst;second\nquit\n']);
});

test('an empty request is not sent', async () => {
  const { runtime, told } = await worker('');
  expect(await runtime.ask([], signal)).toEqual([]);
  await runtime.perform([], signal);
  expect(told).toEqual([]);
});

test('too few answers are an error, because the missing one is unknown', async () => {
  const { runtime } = await worker('\n> \n> ');
  await expect(runtime.ask(['a', 'b'], signal)).rejects.toThrow(RuntimeError);
});

test('refusals are at the index of their command, with the message of HAProxy on one line', async () => {
  const { runtime } = await worker('\n> New server registered.\n\n> entry not found.\nReally.\n\n> ');
  const refusals = await runtime.perform(['add server b/s 1.2.3.4', 'set map m k v'], signal);
  expect(refusals).toEqual(new Map([[1, 'entry not found.; Really.']]));
});

test('a map is replaced only if all of it is accepted', async () => {
  const entries = new Map([['a|80', 'x']]);
  const { runtime: refusing } = await worker('\n> Unknown map identifier. Please use #<id> or <file>.\n\n> ');
  expect(await refusing.replaceMap('m', entries, signal)).toBe(false);
});

test('an absent, a silent and a broken socket are distinguished; an abort gives the reason of the signal', async () => {
  const absent = makeRuntimeApi({ sockets: unixSockets({ clock: systemClock }), path: '/nowhere/sock' });
  await expect(absent.ask(['show info'], signal)).rejects.toMatchObject({
    how: 'absent',
    message: '/nowhere/sock: no such file or directory',
  });
  const expired: Clock = {
    ...systemClock,
    deadline: () => systemClock.deadline(1, AbortSignal.abort(new Error('late'))),
  };
  const { runtime } = await worker(undefined, expired);
  await expect(runtime.ask(['show info'], signal)).rejects.toMatchObject({ how: 'silent' });
  const { runtime: cut } = await worker('\n> cut sh');
  await expect(cut.ask(['show info'], signal)).rejects.toMatchObject({ how: 'broken' });
  await expect(runtime.ask(['show info'], AbortSignal.abort(new Error('stop')))).rejects.toThrow('stop');
});

test('a closed connection is noticed, and an abort ends the watch', async () => {
  const sockets = unixSockets({ clock: systemClock });
  await expect(sockets.untilClosed('/nowhere/sock', signal)).resolves.toBeUndefined();
  const { server, path } = await worker('');
  const accepted = new Promise<void>((resolve) => {
    server.once('connection', (socket) => {
      socket.destroy();
      resolve();
    });
  });
  await sockets.untilClosed(path, signal);
  await accepted;
  const stop = new AbortController();
  const watched = sockets.untilClosed(path, stop.signal);
  stop.abort();
  await watched;
});

test('lines keep all parts in order and within the limit', () => {
  const part = fc.string({ minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(fc.array(part), (parts) => {
      const lines = [...packLines(parts, 64)];
      expect(lines.flat()).toEqual(parts);
      for (const line of lines) expect(line.join(';').length).toBeLessThanOrEqual(64);
    }),
  );
});

test.each([
  ['', true],
  ['New server registered.', true],
  ['Server deleted.', true],
  ["IP changed from '10.0.0.1' to '10.0.0.2' by 'stats socket command'", true],
  ["no need to change the addr by 'stats socket command'", true],
  ['entry not found.', false],
  ['Key not found.', false],
  ['No such server.', false],
  ['Unknown command.', false],
])('the answer %j means success: %s', (answer, isFine) => {
  expect(isSuccess(answer)).toBe(isFine);
});
