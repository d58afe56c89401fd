import { expect, test } from 'vitest';
import type { ServiceKey } from '../core/model/names.ts';
import type { ConnectionLine } from '../daemon/ended-connections.ts';
import { nodeName } from '../../test/make/table.ts';
import { formatConnections } from './connections.ts';
import { decodeOptions } from './options.ts';
import { readCommandLine } from './program.ts';

const paper = { isColoured: false, columns: undefined, timeZone: 'UTC' };
const at = '2026-11-27T08:33:37Z';
const line: ConnectionLine = {
  at: '2026-11-27T08:33:20.042Z',
  client: { address: '198.51.100.7', port: 39_660 },
  address: '192.0.2.200',
  port: 80,
  service: 'shop/web' as ServiceKey,
  server: { address: '192.0.2.11', port: 30_692 },
  node: nodeName('n1'),
  queueMs: 0,
  connectMs: 1,
  totalMs: 340,
  bytesIn: 79,
  bytesOut: 2_400_000,
  retries: 0,
  end: '--',
  words: 'closed',
};

test('the screen of the last connections', async () => {
  const connections: readonly ConnectionLine[] = [
    { ...line, at: '2026-11-26T23:59:59Z', totalMs: 7_265_000 },
    line,
    {
      ...line,
      client: { address: '2001:db8:1::2', port: 50_001 },
      address: '2001:db8::200',
      port: 443,
      service: undefined,
      server: { address: '10.0.3.17', port: 8443 },
      node: undefined,
      totalMs: 1_500,
      retries: 1,
      end: 'SC',
      words: 'the server refused it',
    },
    {
      ...line,
      server: undefined,
      node: undefined,
      connectMs: undefined,
      totalMs: 30_001,
      bytesIn: 0,
      bytesOut: 0,
      end: 'sQ',
      words: 'no server was free in time',
    },
  ];
  await expect(formatConnections({ at, connections, note: undefined }, paper)).toMatchFileSnapshot(
    '__golden__/connections.txt',
  );
});

test('without a connection it says where open ones, and others, are', () => {
  expect(formatConnections({ at, connections: [], note: 'the Pods see them' }, paper)).toBe(
    'No connection through HAProxy has ended since it started or was reloaded last. Open ones: furiwake status\nthe Pods see them.\n',
  );
});

function read(...args: readonly string[]): object {
  const write = (): void => undefined;
  return readCommandLine(args, { version: '1', env: {}, write, writeError: write, columns: 80 });
}

test('the command line names the Service and how many', () => {
  const all = { command: 'connections', stateDir: '/var/lib/furiwake', service: undefined, last: 50, isJson: false };
  expect(read('connections')).toEqual(all);
  const some = { ...all, service: 'shop/web', last: 500, isJson: true };
  expect(read('connections', 'shop/web', '-n', '500', '-o', 'json')).toEqual(some);
  for (const last of ['0', '10001', 'x', '1.5'])
    expect(() => read('connections', '--last', last)).toThrow('--last: expected a number from 1 to 10000');
});

test('--connection-log is an address with a port', () => {
  const logOf = (connectionLog: string): object | undefined => decodeOptions({ connectionLog }).connectionLog;
  expect(logOf('192.0.2.9:514')).toEqual({ host: '192.0.2.9', port: 514 });
  expect(logOf('[2001:DB8::9]:514')).toEqual({ host: '2001:db8::9', port: 514 });
  expect(decodeOptions({}).connectionLog).toBeUndefined();
  for (const text of [
    'log.example.com:514',
    '192.0.2.9',
    '2001:db8::9:514',
    '[192.0.2.9]:514',
    '192.0.2.9:0',
    '192.0.2.9:514 # x',
  ])
    expect(() => logOf(text)).toThrow('expected an IP address with a port, e.g. 127.0.0.1:514 or [2001:db8::9]:514');
});
