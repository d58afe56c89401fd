import { expect, test } from 'vitest';
import { refusal } from './answers.ts';
import type { HttpAnswer } from './transport.ts';

const answer = (statusCode: number, text: string, headers: object = {}): HttpAnswer =>
  ({ statusCode, headers, body: { text: () => Promise.resolve(text) } }) as unknown as HttpAnswer;

test.each([
  ['the message of the API server', 403, '{"message":"services is forbidden"}', 'get /x: services is forbidden'],
  [
    'a plain text',
    400,
    'Client sent an HTTP request\n to an HTTPS server.\n',
    'get /x: Client sent an HTTP request to an HTTPS server.',
  ],
  ['not the page of a proxy', 503, '<html>\n<h1>Bad day</h1></html>', 'get /x: HTTP status 503'],
  ['an empty answer', 500, '', 'get /x: HTTP status 500'],
  [
    'its own message for a rejected token',
    401,
    '{"message":"Unauthorized"}',
    'the API server rejected the credentials (401 Unauthorized)',
  ],
])('a refusal is reported with %s', async (_, status, text, message) => {
  expect((await refusal(answer(status, text), { verb: 'get', path: '/x' })).message).toBe(message);
});

test('a long text is cut', async () => {
  const { message } = await refusal(answer(500, 'x'.repeat(1_000)), { verb: 'get', path: '/x' });
  expect(message).toHaveLength('get /x: '.length + 201);
});

test.each([
  ['20', 20_000],
  ['86400', 60_000],
  ['Infinity', 60_000],
  ['-1', undefined],
  ['Fri, 31 Dec 2027 23:59:59 GMT', undefined],
])('Retry-After %s is a wait of %s ms', async (text, waitMs) => {
  const { retryAfterMs } = await refusal(answer(503, '', { 'retry-after': text }), { verb: 'get', path: '/x' });
  expect(retryAfterMs).toBe(waitMs);
});
