import { expect, test } from 'vitest';
import { filesOf, noPrograms } from '../../test/sim/harness.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { decodeInterfaces } from './interfaces.ts';
import { readResolvConfs, viewOf } from './view.ts';

test('of the addresses of furiwake a view keeps those with a lifetime, without the mark, or in a subnet', async () => {
  const places = {
    '192.0.2.51': 'furiwake0',
    '192.0.2.52': 'furiwake0',
    '192.0.2.53': 'furiwake0',
    '2001:db8::51': 'eth0',
  };
  const record = PersistentMap.from(Object.entries({ ...places, '2001:db8::52': 'eth0' }));
  const common = { scope: 'global', valid_life_time: 2 ** 32 - 1, preferred_life_time: 0 };
  const interfaces = decodeInterfaces(
    JSON.stringify([
      {
        ifname: 'furiwake0',
        addr_info: [
          { ...common, local: '192.0.2.51', prefixlen: 32 },
          { ...common, local: '192.0.2.52', prefixlen: 32, valid_life_time: 12 },
          { ...common, local: '192.0.2.53', prefixlen: 24 },
        ],
      },
      {
        ifname: 'eth0',
        addr_info: [
          { ...common, local: '192.0.2.2', prefixlen: 24 },
          { ...common, local: '2001:db8::51', prefixlen: 128, metric: 8201 },
          { ...common, local: '2001:db8::52', prefixlen: 128 },
        ],
      },
    ]),
  );
  const exec = { ...noPrograms, run: async () => ({ stdout: '[]', stderr: '' }) };
  const files = { read: () => Promise.reject(new Error('absent')) };
  const view = await viewOf(
    interfaces,
    record,
    [],
    { exec, resolvConfs: await readResolvConfs(files) },
    new AbortController().signal,
  );
  expect(view.interfaces.map(({ addresses }) => addresses.map(({ ip }) => ip.text))).toEqual([
    ['192.0.2.52', '192.0.2.53'],
    ['192.0.2.2', '2001:db8::52'],
  ]);
});

test('the host needs the DNS servers of systemd-resolved, whose stub alone is in /etc/resolv.conf', async () => {
  const texts = new Map([
    ['/etc/resolv.conf', 'nameserver 127.0.0.53\noptions edns0'],
    ['/run/systemd/resolve/resolv.conf', '# of the LAN\nnameserver 192.0.2.53\n'],
  ]);
  const exec = { ...noPrograms, run: async () => ({ stdout: '[]', stderr: '' }) };
  const resolvConfs = await readResolvConfs(filesOf(texts));
  const view = await viewOf([], PersistentMap.empty(), [], { exec, resolvConfs }, new AbortController().signal);
  expect(view.needs.get('192.0.2.53')).toBe('DNS server of this host');
});
