import { EventEmitter, once } from 'node:events';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { StartError, UsageError } from '../daemon/errors.ts';
import { KubeError } from '../kube/errors.ts';
import { endFor, isToldToEnd, tolerateErrors } from './end.ts';
import { SignalError } from './node/signals.ts';
import { ExecError } from '../ports/exec.ts';

const calm = new AbortController().signal;
const ended = AbortSignal.abort(new SignalError('SIGTERM'));
const kubeError = new KubeError({ code: 'SERVER', message: 'no etcd', verb: 'list', path: '/api/v1/services' });

test.each([
  ['a wrong flag', new UsageError('--x: no'), 2, '--x: no'],
  ['a missing requirement', new StartError('haproxy is not installed'), 1, 'haproxy is not installed'],
  ['an answer of the API server', kubeError, 1, 'list /api/v1/services: no etcd'],
  ['a program that fails', new ExecError('nft -f -', 1, 'busy\n'), 1, 'nft -f -: busy'],
])('%s is one line', (_, error, exitCode, words) => {
  expect(endFor(error, calm)).toEqual({ exitCode, words });
  expect(endFor(error, ended)).toEqual({ exitCode, words });
});

test.each([new TypeError('x is not a function'), Object.assign(new TypeError('no string'), { code: 'ERR_X' })])(
  'a fault of the program has a stack trace',
  (error) => expect(endFor(error, calm)).toEqual({ exitCode: 1, words: error.stack }),
);

test('the error of the signal is recognised, even if Node wraps it, and no other error is', async () => {
  const ways = [
    ended.reason as unknown,
    await sleep(1_000, undefined, { signal: ended }).catch((error: unknown) => error),
    await once(new EventEmitter(), 'never', { signal: ended }).catch((error: unknown) => error),
  ];
  expect(ways.map((error) => isToldToEnd(error, ended))).toEqual([true, true, true]);
  expect(isToldToEnd(new Error('the nft table could not be removed'), ended)).toBe(false);
  expect(isToldToEnd(new DOMException('another one', 'AbortError'), ended)).toBe(false);
  expect(isToldToEnd(new Error('x'), calm)).toBe(false);
});

test('a command that a signal interrupts fails, without a stack trace', () => {
  expect(endFor(ended.reason, ended)).toEqual({ exitCode: 1, words: 'interrupted by SIGTERM' });
});

test.each([
  ['ENOSPC', ['ENOSPC']],
  ['EPIPE', []],
])('an output that fails with %s does not end the process; lost answers are reported', async (code, told) => {
  const lost: string[] = [];
  const stream = new Writable({ write: (_, __, done) => done(Object.assign(new Error(code), { code })) });
  tolerateErrors(stream, ({ message }) => lost.push(message));
  await new Promise((resolve) => {
    stream.once('close', resolve).write('a line\n');
  });
  expect(lost).toEqual(told);
});
