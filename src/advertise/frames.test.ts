import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Ip, parseIp } from '../core/ip/ip.ts';
import { announcementOf, decodeNeighbour, probeOf } from './frames.ts';

const hexOf = (text: string): string => {
  const ip: Ip | undefined = parseIp(text);
  return ip === undefined ? '' : Buffer.from(announcementOf(ip, '02:00:5e:10:00:01', 7).bytes).toString('hex');
};

test('an IPv4 address is announced by a broadcast ARP request for itself', () => {
  expect(hexOf('192.0.2.51')).toBe(
    'ffffffffffff' +
      '02005e100001' +
      '0806' + // Ethernet
      '0001' +
      '0800' +
      '06' +
      '04' +
      '0001' + // request
      '02005e100001' +
      'c0000233' +
      '000000000000' +
      'c0000233',
  );
});

test('an IPv6 address is announced by an unsolicited neighbour advertisement, to all nodes', () => {
  const address = '20010db8000000000000000000000051';
  const allNodes = 'ff020000000000000000000000000001';
  expect(hexOf('2001:db8::51')).toBe(
    '333300000001' +
      '02005e100001' +
      '86dd' + // Ethernet
      '60000000' +
      '0020' +
      '3a' +
      'ff' +
      address +
      allNodes +
      '8800' +
      '9a7a' +
      '20000000' +
      address +
      '0201' +
      '02005e100001', // override, target, link-layer address
  );
});

test('the checksum of an advertisement makes the sum over pseudo-header and message all ones', () => {
  for (const text of ['2001:db8::51', 'fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '::1:0:0']) {
    const frame = Buffer.from(hexOf(text), 'hex');
    const checked = Buffer.concat([
      frame.subarray(22, 54),
      Buffer.from([0, 0, 0, 32, 0, 0, 0, 58]),
      frame.subarray(54),
    ]);
    let sum = 0;
    for (let i = 0; i < checked.length; i += 2) sum += checked.readUInt16BE(i);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    expect(sum).toBe(0xffff);
  }
});

const probeHexOf = (text: string): string => {
  const ip = parseIp(text);
  return ip === undefined ? '' : Buffer.from(probeOf(ip, '02:00:5e:10:00:01', 7).bytes).toString('hex');
};

test('an IPv4 address is probed by an ARP request from 0.0.0.0, which changes no neighbour’s table', () => {
  expect(probeHexOf('192.0.2.51')).toBe(
    'ffffffffffff02005e1000010806000108000604000102005e10000100000000000000000000c0000233',
  );
});

test('an IPv6 address is probed by a neighbour solicitation from the unspecified address to its solicited-node group', () => {
  expect(probeHexOf('2001:db8::a:b0c:d0e')).toBe(
    '3333ff0c0d0e02005e10000186dd' + // RFC 2464 §7
      '6000000000183aff' +
      '00000000000000000000000000000000' +
      'ff0200000000000000000001ff0c0d0e' +
      '8700' +
      '27b1' + // checksum
      '00000000' +
      '20010db800000000' +
      '0000000a0b0c0d0e',
  );
});

test.each([
  [
    'an ARP reply',
    '02005e10000102000000009908060001080006040002020000000099c000023302005e10000100000000',
    '192.0.2.51',
  ],
  [
    'an ARP request of another machine',
    'ffffffffffff02000000009908060001080006040001020000000099c0000233000000000000c0000201',
    '192.0.2.51',
  ],
  ['a neighbour advertisement', '8800ffff2000000020010db80000000000000000000000510201020000000099', '2001:db8::51'],
  [
    'one with another option first',
    '8800ffff2000000020010db80000000000000000000000510e01aabbccddeeff0201020000000099',
    '2001:db8::51',
  ],
])('reads the neighbour from %s', (_, hex, address) => {
  expect(decodeNeighbour(Buffer.from(hex, 'hex'))).toEqual({ address, mac: '02:00:00:00:00:99' });
});

test.each([
  [
    'an ARP probe of another machine',
    'ffffffffffff0200000000990806000108000604000102000000009900000000000000000000c0000233',
  ],
  ['a truncated frame', '02005e1000010200000000990806000108000604'],
  ['another protocol', '02005e10000102000000009908000001080006040002020000000099c000023302005e10000100000000'],
  ['an advertisement without a link-layer address', '8800ffff2000000020010db8000000000000000000000051'],
  ['an option without a length', '8800ffff2000000020010db80000000000000000000000510e00aabbccddeeff'],
  ['a cut option', '8800ffff2000000020010db800000000000000000000005102010200'],
  ['another ICMPv6 message', '8700ffff2000000020010db80000000000000000000000510201020000000099'],
  ['nothing', ''],
])('reads no neighbour from %s', (_, hex) => {
  expect(decodeNeighbour(Buffer.from(hex, 'hex'))).toBeUndefined();
});

test('any frame from the LAN gives either an address and a MAC, or no neighbour', () => {
  const starts = ['', '88', `${'00'.repeat(12)}0806000108000604`];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.constantFrom(...starts), (rest, start) => {
      const { address, mac } = decodeNeighbour(Buffer.concat([Buffer.from(start, 'hex'), rest])) ?? {
        address: '192.0.2.1',
        mac: '02:00:00:00:00:01',
      };
      expect(parseIp(address)?.text).toBe(address);
      expect(mac).toMatch(/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    }),
  );
});
