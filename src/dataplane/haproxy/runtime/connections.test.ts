import { expect, test } from 'vitest';
import type { ListenerKey } from '../../../core/model/names.ts';
import { parseConnection, readConnections } from './connections.ts';

const { signal } = new AbortController();
const line = (listener: string, end = '--', more = '0 1 340'): string =>
  `1796016090.042 C0000201 39660 ${listener} C000020B:30692 ${more} 79 2400 ${end} 0`;
/** With a syslog server. */
const named =
  'time=1796016090.042 client=192.0.2.1 port=39660 listener=192.0.2.51|80 server=192.0.2.11:30692 queue=0 connect=1 total=340 in=79 out=2400 end=-- retries=0';

test.each([line('192.0.2.51|80'), named])('a line of HAProxy has all of a connection: %s', (text) => {
  expect(parseConnection(text)).toEqual({
    atMs: 1_796_016_090_042,
    client: { address: '192.0.2.1', port: 39_660 },
    listener: '192.0.2.51|80|TCP',
    server: { address: '192.0.2.11', port: 30_692 },
    queueMs: 0,
    connectMs: 1,
    totalMs: 340,
    bytesIn: 79,
    bytesOut: 2400,
    retries: 0,
    end: '--',
    words: 'closed',
  });
});

test('a connection without a server has none, and no times for it', () => {
  const text = line('2001:db8::1|443', 'sQ', '30001 -1 30001').replace('C000020B:30692', '-:-');
  expect(parseConnection(text)).toMatchObject({ server: undefined, queueMs: 30_001, connectMs: undefined });
  expect(parseConnection(text.replace('sQ', 'SC'))?.words).toBe('no server was available');
});

test.each([
  ['20010DB8000000000000000000000007', '2001:db8::7'],
  ['2001:db8::7', '2001:db8::7'],
])('the address of an IPv6 client: %s', (field, address) => {
  expect(parseConnection(line('2001:db8::1|443').replace('C0000201', field))?.client).toEqual({
    address,
    port: 39_660,
  });
});

test('attempts on another server have a sign', () => {
  expect(parseConnection(line('192.0.2.51|80').replace(/0$/, '+2'))?.retries).toBe(2);
});

test.each([
  ['SC', 'the server refused it'],
  ['sC', 'no server answered'],
  ['sQ', 'no server was free in time'],
  ['CC', 'the client aborted it before a server answered'],
  ['CD', 'the client aborted it'],
  ['cD', 'the client was idle for too long'],
  ['D-', 'the server went down'],
  ['KD', 'furiwake ended it'],
  ['PR', 'the request was not valid HTTP'],
  ['cR', 'the client was idle for too long before a request'],
  ['PH', 'the answer of the server was not valid HTTP'],
  ['XY', 'ended (XY)'],
])('%s: %s', (end, words) => {
  expect(parseConnection(line('192.0.2.51|80', end))?.words).toBe(words);
});

test('the last ones are read, of some listeners or of all; other lines are skipped', async () => {
  const answer = ['a', 'b', 'a', 'c'].map((name) => line(`${name}|80`)).join('\nnot a connection\n');
  const api = { ask: async () => [`${answer}\n`] };
  const read = async (most: number, ...keys: readonly string[]): Promise<readonly string[]> =>
    (
      await readConnections(api, { keys: keys.length === 0 ? undefined : new Set(keys as ListenerKey[]), most }, signal)
    ).map(({ listener }) => listener);
  expect(await read(2)).toEqual(['a|80|TCP', 'c|80|TCP']);
  expect(await read(9, 'a|80|TCP')).toEqual(['a|80|TCP', 'a|80|TCP']);
  expect(await read(1, 'b|80|TCP')).toEqual(['b|80|TCP']);
});

test('a HAProxy of an earlier release knows no connections', async () => {
  const api = { ask: async () => ['No such event sink'] };
  expect(await readConnections(api, { keys: undefined, most: 9 }, signal)).toEqual([]);
});
