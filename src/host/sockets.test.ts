import { expect, test } from 'vitest';
import { type Ip, parseIp } from '../core/ip/ip.ts';
import { connectionFilter, decodeConnections, decodeListening } from './sockets.ts';

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
  ['other text', 'nonsense', []],
])('reads %s', (_, local, sockets) => {
  expect(decodeListening(line(local), 'TCP')).toMatchObject(sockets);
});

test('reads one socket per line, and none from an empty text', () => {
  expect(decodeListening(line('192.0.2.1:80') + line('192.0.2.1:81'), 'TCP').map(({ port }) => port)).toEqual([80, 81]);
  expect(decodeListening('', 'TCP')).toEqual([]);
});

test('reads sockets of UDP', () => {
  expect(decodeListening('UNCONN 0 0 192.0.2.1%eth0:68 0.0.0.0:*\n', 'UDP')).toMatchObject([
    { protocol: 'UDP', address: ip('192.0.2.1'), family: 4, port: 68 },
  ]);
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

test('distinguishes connections that a transparent listener accepted from those that this host opened', () => {
  const options = (more: string): string => `inet-sockopt: ( is_icsk mc_loop ${more}mc_all)`;
  const found = decodeConnections(
    [
      `ESTAB    0 0 192.0.2.11:40000 198.51.100.2:51234 ${options('transparent ')}`,
      `ESTAB    0 0 192.0.2.11:40000 192.0.2.21:30692 ${options('')}`,
      'ESTAB    0 0 [2001:db8::11]:40000 [2001:db8::3]:51234 inet-sockopt: ( is_icsk mc_loop transparent)',
      'SYN-RECV 0 0 [2001:db8::11]:40000 [2001:db8::2]:51234',
      `SYN-SENT 0 0 [2001:db8::11]%eth0:40000 [fe80::2]%eth0:22 ${options('')}`,
      '',
    ].join('\n'),
  );
  expect(found.map(({ peer, isTaken }) => `${peer.address.text} ${peer.port} ${isTaken}`)).toEqual([
    '198.51.100.2 51234 true',
    '192.0.2.21 30692 false',
    '2001:db8::3 51234 true',
    '2001:db8::2 51234 true',
    'fe80::2 22 false',
  ]);
});

test('a filter excludes the spared connections, only for their listener', () => {
  const end = (text: string, port: number): { readonly address: Ip; readonly port: number } => {
    const address = parseIp(text);
    if (address === undefined) throw new Error(text);
    return { address, port };
  };
  const spared = ['192.0.2.21', '192.0.2.22'].map((peer) => ({
    local: end('192.0.2.1', 40_000),
    peer: end(peer, 30_692),
    isTaken: false,
  }));
  const listeners = [end('192.0.2.1', 40_000), end('192.0.2.1', 80)].map((at) => ({ ...at, protocol: 'TCP' as const }));
  expect(connectionFilter(listeners, spared).join(' ')).toBe(
    '( src = 192.0.2.1 and sport = :40000 and not ' +
      '( ( dst = 192.0.2.21 and dport = :30692 ) or ( dst = 192.0.2.22 and dport = :30692 ) ) ) ' +
      'or ( src = 192.0.2.1 and sport = :80 )',
  );
});
