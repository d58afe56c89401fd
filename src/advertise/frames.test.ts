import { expect, test } from 'vitest';
import { type Ip, parseIp } from '../core/ip/ip.ts';
import { announcementOf } from './frames.ts';

const hexOf = (text: string): string => {
  const ip: Ip | undefined = parseIp(text);
  return ip === undefined ? '' : Buffer.from(announcementOf(ip, '02:00:5e:10:00:01', 7).bytes).toString('hex');
};

test('an IPv4 address is announced by an ARP request for itself, to everybody', () => {
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
