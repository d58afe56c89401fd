import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { dns, type NatRig, startNatRig } from '../../../test/netns/nat-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { node, tableOf } from '../../../test/make/table.ts';
import type { Exec } from '../../ports/exec.ts';

/*
 * The host is a router only for flows of nat.
 */
const { signal } = new AbortController();
let rig: NatRig;

beforeAll(async () => {
  rig = await startNatRig();
  const [first] = rig.lab.nodes;
  await rig.lab.client.exec('ip', 'route', 'add', '10.20.0.0/24', 'via', '10.10.0.1');
  await rig.lab.client.exec('ip', 'route', 'add', 'fd20::/64', 'via', 'fd10::1');
  await first?.exec('ip', 'route', 'add', 'default', 'via', '10.20.0.1');
  await first?.exec('ip', '-6', 'route', 'add', 'default', 'via', 'fd20::1');
});
afterAll(() => rig?.[Symbol.asyncDispose]());
beforeEach(() => rig.apply());

const settings = ['net.ipv4.ip_forward', 'net.ipv4.conf.wan.forwarding', 'net.ipv6.conf.all.forwarding'];
const read = async (): Promise<readonly string[]> =>
  (await rig.lab.balancer.exec('sysctl', '-n', ...settings)).trim().split('\n');
const set = (...values: readonly string[]): Promise<string> => rig.lab.balancer.exec('sysctl', '-qw', ...values);
/** A packet that the host would only route. */
const routed = async (address: string): Promise<string> => {
  const { text, error } = await rig.lab.client.ask({ do: 'askUdp', address, port: 30_053, timeoutMs: 500 });
  return text?.split(' ')[0] ?? error ?? '';
};

test('forwarding that is off is switched on for flows of nat only, and off again when no listener is left', async () => {
  await set('net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0');
  await rig.apply(dns('10.50.0.1'));
  expect(await read()).toEqual(['0', '1', '0']);
  await rig.apply(dns('10.50.0.1'), dns('fd50::1'));
  expect(await read()).toEqual(['0', '1', '1']);
  for (const vip of ['10.50.0.1', 'fd50::1']) expect(await rig.nodeOf(vip, 0)).toMatch(/^n/);
  for (const address of ['10.20.0.11', 'fd20::11'])
    expect([address, await routed(address)]).toEqual([address, 'timeout']);
  for (let turn = 0; turn < 2; turn++) {
    await rig.apply();
    expect(await read()).toEqual(['0', '0', '0']);
    await rig.apply(dns('10.50.0.1'));
    expect(await read()).toEqual(['0', '1', '0']);
  }
});

test('a new process knows what an earlier one switched on', async () => {
  await set('net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0');
  await rig.apply(dns('10.50.0.1'), dns('fd50::1'));
  await rig.stop();
  await rig.start();
  await rig.apply(dns('10.50.0.1'));
  expect(await read()).toEqual(['0', '1', '0']);
  expect(await routed('10.20.0.11')).toBe('timeout');
  await rig.stop();
  await rig.start();
  await rig.nat().remove(signal);
  expect(await read()).toEqual(['0', '0', '0']);
});

test('forwarding that another program switches on is no longer guarded, and stays on', async () => {
  await set('net.ipv4.ip_forward=0');
  await rig.apply(dns('10.50.0.1'));
  await set('net.ipv4.ip_forward=1');
  await rig.nat().audit(signal);
  expect(await routed('10.20.0.11')).toBe('n1');
  await rig.apply();
  expect(await read()).toEqual(['1', '1', expect.any(String)]);
});

test.each([
  ['net.ipv4.ip_forward', '10.50.0.1', ['0', '1']],
  ['net.ipv6.conf.all.forwarding', 'fd50::1', ['1']],
])('%s that another program switches off is on again as soon as its news comes', async (setting, address, values) => {
  await set('net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0');
  await rig.apply(dns(address));
  await set(`${setting}=1`, `${setting}=0`);
  rig.changeLinks();
  const mine = async (): Promise<readonly string[]> => {
    const [all = '', wan = '', all6 = ''] = await read();
    return address === 'fd50::1' ? [all6] : [all, wan];
  };
  await expect.poll(mine, patience).toEqual(values);
  expect(await rig.nodeOf(address, 0)).toMatch(/^n/);
});

test('an interface that came later forwards after the next audit', async () => {
  await set('net.ipv4.ip_forward=0');
  await rig.apply(dns('10.50.0.1'));
  await rig.lab.balancer.exec('ip', 'link', 'add', 'later', 'type', 'bridge');
  await rig.nat().audit(signal);
  const value = async (): Promise<string> =>
    (await rig.lab.balancer.exec('sysctl', '-n', 'net.ipv4.conf.later.forwarding')).trim();
  expect(await value()).toBe('1');
  await rig.apply();
  expect(await value()).toBe('0');
});

test('an interface that is deleted and made again forwards as soon as its news comes', async () => {
  await set('net.ipv4.ip_forward=0');
  const { balancer } = rig.lab;
  const value = async (): Promise<string> =>
    (await balancer.exec('sysctl', '-n', 'net.ipv4.conf.again.forwarding')).trim();
  const make = (): Promise<string> => balancer.exec('ip', 'link', 'add', 'again', 'type', 'bridge');
  await make();
  await rig.apply(dns('10.50.0.1'));
  expect(await value()).toBe('1');
  await balancer.exec('ip', 'link', 'delete', 'again');
  await make();
  expect(await value()).toBe('0');
  rig.changeLinks();
  await vi.waitUntil(async () => (await value()) === '1', patience);
  await balancer.exec('ip', 'link', 'delete', 'again');
});

test('IPv6: every link keeps the role of a host, and its default route from a router', async () => {
  const { balancer, client } = rig.lab;
  await set('net.ipv6.conf.all.forwarding=0');
  // It says so whenever it is asked for its MAC address: the kernel deletes the route of a neighbour that is not a router.
  await client.exec('sysctl', '-qw', 'net.ipv6.conf.eth0.forwarding=1');
  const defaultRoute = (): Promise<string> => balancer.exec('ip', '-6', 'route', 'show', 'default');
  await vi.waitUntil(async () => {
    await client.exec('perl', '-e', routerAdvertisement, String((await client.device('eth0')).index));
    return (await defaultRoute()).includes('proto ra');
  }, patience);
  await rig.apply(dns('fd50::1'));
  const names = ['all.forwarding', 'wan.forwarding', 'wan.accept_ra', 'default.forwarding'];
  const values = await balancer.exec('sysctl', '-n', ...names.map((name) => `net.ipv6.conf.${name}`));
  expect(values.trim().split('\n')).toEqual(['1', '0', '1', '0']);
  expect(await defaultRoute()).toContain('proto ra');
  expect(await rig.nodeOf('fd50::1', 0)).toMatch(/^n/);
});

test('forwarding that is on already is not written: /proc/sys may be read-only', async () => {
  await set('net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=0');
  await rig.apply(dns('10.50.0.1'), dns('fd50::1'));
  const { execPort } = rig.lab.balancer;
  const script = 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$0" "$@"';
  const exec: Exec = {
    ...execPort,
    run: (file, args, options) =>
      file === 'perl'
        ? execPort.run('unshare', ['--mount', 'sh', '-c', script, file, ...args], options)
        : execPort.run(file, args, options),
  };
  const table = tableOf([dns('10.50.0.1'), dns('fd50::1')], [node('n1', '10.20.0.11', 'fd20::11')]);
  const lifetime = new AbortController();
  expect(await rig.makeNew(lifetime.signal, exec).apply(table, signal)).toEqual(new Map());
  lifetime.abort();
});

/** Sends a router advertisement (RFC 4861) by the device with this index. */
const routerAdvertisement = String.raw`
use strict;
my ($index) = @ARGV;
socket(my $socket, 10, 3, 58) or die "socket: $!\n";                  # AF_INET6, SOCK_RAW, IPPROTO_ICMPV6
setsockopt($socket, 41, 18, pack("i", 255)) or die "hops: $!\n";       # IPV6_MULTICAST_HOPS
setsockopt($socket, 41, 17, pack("i", $index)) or die "link: $!\n";    # IPV6_MULTICAST_IF
my $all = pack("S n N H32 L", 10, 0, 0, "ff020000000000000000000000000001", $index);
send($socket, pack("C2 n C2 n N2", 134, 0, 0, 64, 0, 600, 0, 0), 0, $all) or die "send: $!\n";
`;
