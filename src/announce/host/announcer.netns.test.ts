import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type NetLab, startNetLab } from '../../../test/netns/net-lab.ts';
import { patience } from '../../../test/netns/patience.ts';
import { addressesOf } from '../../../test/netns/rows.ts';
import { systemClock } from '../../main/node/clock.ts';
import { systemFiles } from '../../main/node/files.ts';
import type { Log } from '../../ports/log.ts';
import { type HostAnnouncer, makeAnnouncer } from './announcer.ts';

/*
 * The client is on the balancer's link: 10.10.0.0/24 and fd10::/64. 10.50.0.0/16 and fd50::/64 are on no link, routed.
 */
const { signal } = new AbortController();
let lab: NetLab;
let announcer: HostAnnouncer;
let lifetime: AbortController;
let warnings: unknown[];

beforeEach(async () => {
  lab = await startNetLab({ nodes: 0 });
  lifetime = new AbortController();
  warnings = [];
  announcer = makeNew();
});
afterEach(async () => {
  lifetime.abort();
  await lab[Symbol.asyncDispose]();
});

const linkAddresses = addressesOf('10.10.0.50', 'fd10::50');
const routedAddresses = addressesOf('10.50.0.1', 'fd50::1');
const allAddresses = linkAddresses.with(routedAddresses);
const none = addressesOf();

describe('ensure', () => {
  test('makes addresses of the link and routed ones answer, in both families', async () => {
    await announcer.ensure(allAddresses, signal);
    for (const text of allAddresses.keys()) await answersPing(text);
    expect(await placesOf('balancer')).toEqual(
      expect.arrayContaining([
        'furiwake0 10.10.0.50/32 link',
        'furiwake0 10.50.0.1/32 link',
        'wan fd10::50/128 global',
        'furiwake0 fd50::1/128 global',
      ]),
    );
  });

  test('lets an IPv6 address of the link be resolved by neighbour solicitation', async () => {
    await announcer.ensure(linkAddresses, signal);
    await lab.client.exec('ip', '-6', 'neighbour', 'flush', 'dev', 'eth0');
    await answersPing('fd10::50');
    expect(await neighbour('fd10::50')).toBe(await macOf('wan'));
  });

  test('announces an address to a neighbour that knew it elsewhere, in both families', async () => {
    for (const text of linkAddresses.keys()) await pretendElsewhere(text);
    await announcer.ensure(linkAddresses, signal);
    const mac = await macOf('wan');
    for (const text of linkAddresses.keys()) await expect.poll(() => neighbour(text), patience).toBe(mac);
    expect(warnings).toEqual([]);
  });

  test('announces three times, an ARP request and a neighbour advertisement that tcpdump finds right', async () => {
    const lines = await startCapture();
    await announcer.ensure(linkAddresses, signal);
    const mac = await macOf('wan');
    const arp = `${mac} > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Ethernet (len 6), IPv4 (len 4), Request who-has 10.10.0.50 tell 10.10.0.50`;
    const advertisement = `${mac} > 33:33:00:00:00:01, ethertype IPv6 (0x86dd), length 86: (hlim 255, next-header ICMPv6 (58) payload length: 32) fd10::50 > ff02::1: [icmp6 sum ok] ICMP6, neighbor advertisement, length 32, tgt is fd10::50, Flags [override]`;
    const seen = (text: string): number => lines.filter((line) => line.includes(text)).length;
    await expect.poll(() => [seen(arp), seen(advertisement)], patience).toEqual([3, 3]);
  });

  test('never makes the host use an address of ours as source of its own connections', async () => {
    await announcer.ensure(allAddresses, signal);
    for (const device of ['wan', 'lan']) await lab.balancer.exec('ip', '-4', 'address', 'flush', 'dev', device);
    await lab.balancer.exec('ip', 'route', 'add', '10.99.0.0/16', 'dev', 'lan');
    expect(await lab.balancer.exec('ip', 'route', 'get', '10.99.0.1')).not.toContain('src');
    expect(await lab.balancer.exec('ip', 'route', 'get', 'fd10::2')).toContain('src fd10::1');
  });
});

describe('what the host has without us', () => {
  test('is not ours, is not added again, and survives a release and an audit', async () => {
    await lab.balancer.exec('ip', 'address', 'add', '10.10.0.60/32', 'dev', 'lan');
    const before = await placesOf('balancer');
    const wanted = addressesOf('10.10.0.1', '10.10.0.60', 'fd10::1');
    expect(await announcer.added(wanted, signal)).toEqual(none);
    await announcer.ensure(wanted, signal);
    await announcer.audit(signal);
    await announcer.release(none, signal);
    expect(await placesOf('balancer')).toEqual(before);
  });

  test('leaves out addresses of ours, loopback and link-local ones', async () => {
    await announcer.ensure(allAddresses, signal);
    const own = (await announcer.ownAddresses(signal)).map(({ text }) => text);
    expect(own.toSorted()).toEqual(['10.10.0.1', '10.20.0.1', 'fd10::1', 'fd20::1']);
    expect(await makeNew().ownAddresses(signal)).toHaveLength(4);
  });

  test('counts even when a record says that we added it, if it is elsewhere than we put it', async () => {
    await announcer.ensure(addressesOf('10.10.0.50'), signal);
    await lab.balancer.exec('ip', 'link', 'delete', 'furiwake0'); // as after a reboot
    await lab.balancer.exec('ip', 'address', 'add', '10.10.0.50/24', 'dev', 'wan');
    const restarted = makeNew();
    expect(await restarted.added(addressesOf('10.10.0.50'), signal)).toEqual(none);
    await restarted.ensure(addressesOf('10.10.0.50'), signal);
    await restarted.audit(signal);
    await restarted.release(none, signal);
    expect(await placesOf('balancer')).toContain('wan 10.10.0.50/24 global');
  });
});

describe('release', () => {
  test('removes what is no longer wanted and leaves the rest', async () => {
    const before = await placesOf('balancer');
    await announcer.ensure(allAddresses, signal);
    await announcer.release(linkAddresses, signal);
    expect(await placesOf('balancer')).toEqual(
      [...before, 'furiwake0 10.10.0.50/32 link', 'wan fd10::50/128 global'].toSorted(),
    );
    await announcer.release(none, signal);
    expect(await placesOf('balancer')).toEqual(before);
  });

  test('of all leaves nothing behind: no interface, no record; and addresses can come again', async () => {
    await announcer.ensure(allAddresses, signal);
    await announcer.release(none, signal);
    expect(await lab.balancer.exec('ip', '-brief', 'link')).not.toContain('furiwake0');
    expect(await systemFiles.read(`${lab.folder}/addresses.json`)).toBeUndefined();
    await announcer.ensure(routedAddresses, signal);
    await answersPing('10.50.0.1');
  });

  test('by another process removes what an earlier one added', async () => {
    const before = await placesOf('balancer');
    await announcer.ensure(allAddresses, signal);
    await makeNew().release(none, signal);
    expect(await placesOf('balancer')).toEqual(before);
  });

  test('removes what is on our interface even when the record is lost', async () => {
    await announcer.ensure(routedAddresses, signal);
    await systemFiles.remove(`${lab.folder}/addresses.json`);
    await makeNew().release(none, signal);
    expect(await lab.balancer.exec('ip', '-brief', 'link')).not.toContain('furiwake0');
  });
});

test('a record that somebody has cut short stops nothing, and is whole again after the next change', async () => {
  const path = `${lab.folder}/addresses.json`;
  await announcer.ensure(routedAddresses, signal);
  await systemFiles.write(path, '{"version":1,"addr');
  const restarted = makeNew();
  await restarted.ensure(routedAddresses, signal);
  await restarted.ensure(allAddresses, signal);
  for (const text of allAddresses.keys()) await answersPing(text);
  expect(await systemFiles.read(path)).toMatch(/10\.50\.0\.1.*fd10::50|fd10::50.*10\.50\.0\.1/);
  expect(await restarted.audit(signal)).toBe(0);
});

describe('audit', () => {
  test('finds nothing to do when nothing was done', async () => {
    await announcer.ensure(allAddresses, signal);
    expect(await announcer.audit(signal)).toBe(0);
  });

  test.each([
    ['the addresses were flushed', ['ip', 'address', 'flush', 'dev', 'furiwake0'], 3],
    ['our interface was deleted', ['ip', 'link', 'delete', 'furiwake0'], 3],
    ['our interface was set down', ['ip', 'link', 'set', 'furiwake0', 'down'], 2],
    ['one address was deleted', ['ip', 'address', 'delete', 'fd10::50/128', 'dev', 'wan'], 1],
  ])('puts everything back when %s', async (_, [file = '', ...args], repairs) => {
    await announcer.ensure(allAddresses, signal);
    await lab.balancer.exec(file, ...args);
    expect(await announcer.audit(signal)).toBe(repairs);
    expect(await announcer.audit(signal)).toBe(0);
    for (const text of allAddresses.keys()) await answersPing(text);
  });
});

describe('an address that the kernel does not take', () => {
  test('is no reason to leave out the others, and is tried again', async () => {
    await lab.balancer.exec('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
    await announcer.ensure(allAddresses, signal);
    await announcer.ensure(allAddresses.with(addressesOf('10.50.0.2')), signal);
    for (const text of ['10.10.0.50', 'fd10::50', '10.50.0.1', '10.50.0.2']) await answersPing(text);
    const refused = new Map([['fd50::1', expect.stringMatching(/^furiwake0: .*IPv6 is disabled/)]]);
    expect(announcer.refused()).toEqual(refused);
    expect(await announcer.audit(signal)).toBe(0);
    expect(announcer.refused()).toEqual(refused);
    expect(warnings).toHaveLength(1);
    await lab.balancer.exec('sysctl', '-qw', 'net.ipv6.conf.furiwake0.disable_ipv6=0');
    expect(await announcer.audit(signal)).toBe(1);
    await answersPing('fd50::1');
    expect(announcer.refused()).toEqual(new Map());
  });

  test('leaves nothing behind when it goes', async () => {
    await lab.balancer.exec('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
    const before = await placesOf('balancer');
    await announcer.ensure(routedAddresses, signal);
    await announcer.release(none, signal);
    expect(announcer.refused()).toEqual(new Map());
    expect(await placesOf('balancer')).toEqual(before);
    expect(await systemFiles.read(`${lab.folder}/addresses.json`)).toBeUndefined();
  });
});

function makeNew(): HostAnnouncer {
  return makeAnnouncer({
    exec: lab.balancer.execPort,
    files: systemFiles,
    folder: lab.folder,
    clock: systemClock,
    log: { ...silent, warn: (fields) => void warnings.push(fields) },
    lifetime: lifetime.signal,
  });
}

/** The client pings it, three times if need be. */
async function answersPing(address: string): Promise<void> {
  expect(await lab.client.exec('ping', '-c3', '-i0.2', '-W3', address)).toMatch(/ [123] received/);
}

/** Interface, address and scope of every routable address, sorted. */
async function placesOf(machine: 'balancer'): Promise<readonly string[]> {
  const json = await lab[machine].exec('ip', '-json', 'address');
  const links = JSON.parse(json) as {
    ifname: string;
    addr_info: { local: string; prefixlen: number; scope: string }[];
  }[];
  return links
    .flatMap(({ ifname, addr_info }) =>
      addr_info.map(({ local, prefixlen, scope }) => `${ifname} ${local}/${prefixlen} ${scope}`),
    )
    .filter((place) => !/ (?:127\.|::1|fe80:)/.test(place))
    .toSorted();
}

async function macOf(device: string): Promise<string> {
  const [link] = JSON.parse(await lab.balancer.exec('ip', '-json', 'link', 'show', 'dev', device)) as {
    address: string;
  }[];
  return link?.address ?? '';
}

/** Where the client believes an address to be. */
async function neighbour(address: string): Promise<string | undefined> {
  const entries = JSON.parse(await lab.client.exec('ip', '-json', 'neighbour', 'show', 'to', address)) as {
    lladdr?: string;
  }[];
  return entries[0]?.lladdr;
}

async function pretendElsewhere(address: string): Promise<void> {
  const entry = [address, 'lladdr', '02:00:00:00:00:99', 'dev', 'eth0', 'nud', 'reachable'];
  await lab.client.exec('ip', 'neighbour', 'replace', ...entry);
}

/** ARP requests and neighbour advertisements that the client sees from now on; more come until the test ends. */
async function startCapture(): Promise<readonly string[]> {
  const filter = 'arp or (icmp6 and ip6[40] = 136)';
  const tcpdump = lab.client.execPort.converse('tcpdump', ['-i', 'eth0', '-elntv', filter], lifetime.signal);
  await vi.waitUntil(() => tcpdump.takeErrors().includes('listening on'), patience);
  const lines: string[] = [];
  void (async () => {
    for await (const line of tcpdump.lines) lines.push(line);
  })().catch(() => undefined); // it ends with the test
  return lines;
}

const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};
