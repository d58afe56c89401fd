import { expect, test } from 'vitest';
import { silent } from '../../test/make/log.ts';
import { ip } from '../../test/make/service.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Exec } from '../ports/exec.ts';
import { makeNetwork } from './network.ts';

const { signal } = new AbortController();

test('the host’s own address stays the same when the default route was gone', async () => {
  let hasRoute = true;
  let addresses = ['2001:db8:9::11'];
  const interfaces = (): readonly object[] => [
    {
      ifindex: 2,
      ifname: 'eth0',
      flags: ['UP'],
      addr_info: addresses.map((local) => ({ family: 'inet6', local, prefixlen: 64, scope: 'global' })),
    },
  ];
  const run: Exec['run'] = async (_, args) => {
    const isRoute = args.includes('route');
    const routes = hasRoute && args.includes('-6') ? [{ dst: 'default', dev: 'eth0' }] : [];
    return { stdout: JSON.stringify(isRoute ? routes : interfaces()), stderr: '' };
  };
  const network = makeNetwork({
    exec: { run, spawn: () => expect.unreachable() },
    files: { read: async () => undefined },
    record: { read: async () => PersistentMap.empty(), write: async () => undefined },
    clock: virtualClock(),
    log: silent,
  });
  const primary = async (): Promise<readonly string[]> =>
    (await network.refresh(signal)).primary.map(({ text }) => text);
  expect(await primary()).toEqual(['2001:db8:9::11']);
  addresses = ['2001:db8:9::11', '2001:db8::11']; // the last one is the oldest
  hasRoute = false;
  expect(await primary()).toEqual([]);
  hasRoute = true;
  expect(await primary()).toEqual(['2001:db8:9::11']);
});

test.each([
  [['UP', 'LOWER_UP'], true],
  [['UP', 'NO-CARRIER'], false],
  [['UP'], false],
  [[], undefined],
])('an address of the LAN of an interface with the flags %j: carrier %s', async (flags, found) => {
  const eth0 = { ifindex: 2, ifname: 'eth0', link_type: 'ether', address: '02:00:00:00:00:01', flags };
  const listed = JSON.stringify([{ ...eth0, addr_info: [{ family: 'inet', local: '192.0.2.1', prefixlen: 24 }] }]);
  const network = makeNetwork({
    exec: {
      run: async (_, args) => ({ stdout: args.includes('route') ? '[]' : listed, stderr: '' }),
      spawn: () => expect.unreachable(),
    },
    files: { read: async () => undefined },
    record: { read: async () => PersistentMap.empty(), write: async () => undefined },
    clock: virtualClock(),
    log: silent,
  });
  await network.refresh(signal);
  expect([network.hasCarrier(ip('192.0.2.200')), network.hasCarrier(ip('198.51.100.1'))]).toEqual([found, undefined]);
});
