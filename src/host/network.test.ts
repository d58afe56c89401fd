import { expect, test } from 'vitest';
import { silent } from '../../test/make/log.ts';
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
