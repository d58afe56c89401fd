import { writeFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { silent } from '../../../test/make/log.ts';
import { addressesOf } from '../../../test/make/table.ts';
import { type Machine, type Machines, makeMachines, setUp } from '../../../test/netns/net-lab.ts';
import { patience } from '../../../test/netns/patience.ts';
import { echo, tableOf, targetOf } from '../../../test/netns/steering-rig.ts';
import { recordMetrics } from '../../../test/sim/observers.ts';
import { makeHost } from '../../host/host.ts';
import { systemClock } from '../../main/node/clock.ts';
import type { Files } from '../../ports/files.ts';
import type { Steering } from '../../ports/steering.ts';
import { makeBridgeFilter } from './bridge-filter.ts';
import { makeSteering } from './steering.ts';

/*
 * A host that gets its first bridge, and with it the hooks of br_netfilter, while it serves. Needs a kernel with br_netfilter, as every
 * host with Docker has it.
 */
const lifetime = new AbortController();
const { signal } = lifetime;
let machines: Machines;
let [client, balancer]: Machine[] = [];
let folder: string;

beforeAll(async () => {
  machines = await makeMachines(['c', 'l']);
  [client, balancer] = [machines.get('c'), machines.get('l')];
  folder = await mkdtemp(path.join(tmpdir(), 'furiwake-bridges-'));
  await writeFile(`${folder}/echo.cfg`, echo);
  await balancer.ip(
    `link add wan type veth peer eth0 netns ${client.namespace}`,
    ...setUp('wan', '10.10.0.1/24', 'fd10::1/64'),
    'address add 10.50.0.1/32 dev lo',
    'address add fd50::1/128 dev lo',
  );
  await client.ip(
    ...setUp('eth0', '10.10.0.2/24', 'fd10::2/64'),
    'route add 10.50.0.0/16 via 10.10.0.1',
    'route add fd50::/64 via fd10::1',
  );
  balancer.execPort.spawn('haproxy', ['-db', '-f', `${folder}/echo.cfg`], signal);
});
afterAll(async () => {
  lifetime.abort();
  await machines?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const fetch = async (address: string): Promise<string> => {
  const { text, error } = await client!.ask({ do: 'fetch', address, port: 80, timeoutMs: 3_000 });
  return text ?? error ?? '';
};

/** The files of the load balancer: /sys shows the links of another machine. */
const filesOf = (machine: Machine): Pick<Files, 'exists' | 'list'> => {
  const bridges = async (): Promise<readonly string[]> => {
    const links = JSON.parse((await machine.exec('ip', '-json', 'link', 'show', 'type', 'bridge')) || '[]');
    return (links as readonly { readonly ifname?: string }[]).flatMap(({ ifname }) => ifname ?? []);
  };
  return {
    exists: async (file) =>
      file.startsWith('/sys')
        ? (await bridges()).some((name) => file === `/sys/class/net/${name}/bridge`)
        : await machine.exec('test', '-e', file).then(
            () => true,
            () => false,
          ),
    list: bridges,
  };
};

function makeNew(): Steering {
  const { execPort: exec } = balancer!;
  return makeSteering({
    host: makeHost({ exec, log: silent }),
    isBridgeFiltered: makeBridgeFilter(filesOf(balancer!)),
    exec,
    clock: systemClock,
    log: silent,
    metrics: recordMetrics(),
    lifetime: signal,
  });
}

test('connections by a bridge that came later are steered as soon as furiwake hears of it, and open ones continue', async () => {
  const addresses = ['10.50.0.1', '10.50.0.9', '10.10.0.1', 'fd50::1', 'fd50::9', 'fd10::1'];
  const listeners = tableOf(addresses.map((address) => [address, 80]));
  const target = targetOf(
    listeners,
    addressesOf('10.50.0.1', 'fd50::1'),
    undefined,
    addressesOf('10.10.0.1', 'fd10::1'),
  );
  const steering = makeNew();
  expect(await steering.apply(target, signal)).toEqual(new Map());
  const running = steering.run(signal).catch(() => undefined);
  const all = addresses.map((address) => `${address} 80 from ${address.includes(':') ? 'fd10::2' : '10.10.0.2'}`);
  await vi.waitFor(async () => expect(await Promise.all(addresses.map(fetch))).toEqual(all), patience);
  const open = await Promise.all(
    addresses.map((address) => client!.ask({ do: 'dial', address, port: 80 }).then(({ id = 0 }) => id)),
  );

  await balancer!.ip(
    'address flush dev wan',
    'link add br0 type bridge',
    ...setUp('br0', '10.10.0.1/24', 'fd10::1/64'),
    'link set wan master br0',
  );
  await client!.ip('neigh flush dev eth0');
  expect(await fetch('10.50.0.1')).toBe('ECONNREFUSED');
  steering.noteFacts();
  await vi.waitFor(async () => expect(await Promise.all(addresses.map(fetch))).toEqual(all), patience);
  for (const id of open) await client!.ask({ do: 'say', id, text: 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' });
  for (const [index, id] of open.entries())
    await expect.poll(async () => (await client!.ask({ do: 'heard', id })).text, patience).toContain(all[index]);

  await balancer!.exec('sysctl', '-qw', ...['iptables', 'ip6tables'].map((of) => `net.bridge.bridge-nf-call-${of}=0`));
  expect(await Promise.all(addresses.map(fetch))).toEqual(all);
  expect(await steering.audit(signal)).toBe(0);
  lifetime.abort();
  await running;
});
