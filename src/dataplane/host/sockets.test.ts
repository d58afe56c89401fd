import { expect, test } from 'vitest';
import { parseIp } from '../../core/ip/ip.ts';
import { connectionFilter, decodeListening } from './sockets.ts';

const line = (local: string): string => `LISTEN 0      128    ${local} 0.0.0.0:*\n`;
const ip = (text: string): object => ({ text });

test.each([
  ['an IPv4 address', '192.0.2.1:80', [{ address: ip('192.0.2.1'), family: 4, port: 80 }]],
  ['an IPv6 address', '[2001:db8::1]:443', [{ address: ip('2001:db8::1'), family: 6, port: 443 }]],
  ['an address bound to an interface', '192.0.2.1%eth0:53', [{ address: ip('192.0.2.1'), family: 4, port: 53 }]],
  ['an IPv6 address bound to one', '[fe80::1]%eth0:53', [{ address: ip('fe80::1'), family: 6, port: 53 }]],
  ['the IPv4 wildcard', '0.0.0.0:22', [{ address: undefined, family: 4, port: 22 }]],
  ['the IPv6 wildcard', '[::]:22', [{ address: undefined, family: 6, port: 22 }]],
  ['a wildcard bound to an interface', '0.0.0.0%eth0:67', [{ address: undefined, family: 4, port: 67 }]],
  ['an IPv4 address of an IPv6 socket', '[::ffff:192.0.2.1]:80', [{ address: ip('192.0.2.1'), family: 4, port: 80 }]],
  [
    'the wildcard of both families',
    '*:10256',
    [
      { address: undefined, family: 4, port: 10_256 },
      { address: undefined, family: 6, port: 10_256 },
    ],
  ],
  ['what is no socket', 'nonsense', []],
])('reads %s', (_, local, sockets) => {
  expect(decodeListening(line(local))).toMatchObject(sockets);
});

test('reads one socket per line, and none from nothing', () => {
  expect(decodeListening(line('192.0.2.1:80') + line('192.0.2.1:81')).map(({ port }) => port)).toEqual([80, 81]);
  expect(decodeListening('')).toEqual([]);
});

test('a filter names each listener by address and port and nothing else', () => {
  const listener = (text: string, port: number): Parameters<typeof connectionFilter>[0] => {
    const address = parseIp(text);
    return address === undefined ? [] : [{ address, protocol: 'TCP', port }];
  };
  expect(connectionFilter([...listener('192.0.2.1', 80), ...listener('192.0.2.2', 81)]).join(' ')).toBe(
    '( src = 192.0.2.1 and sport = :80 ) or ( src = 192.0.2.2 and sport = :81 )',
  );
  expect(connectionFilter(listener('2001:db8::1', 80)).join(' ')).toBe('( src = [2001:db8::1] and sport = :80 )');
});
