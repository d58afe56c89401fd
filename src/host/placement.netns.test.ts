import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type PlacementRig,
  allAddresses,
  linkAddresses,
  none,
  routedAddresses,
  startPlacementRig,
} from '../../test/netns/placement-rig.ts';
import { patience } from '../../test/netns/patience.ts';
import { addressesOf } from '../../test/make/table.ts';
import { systemClock } from '../main/node/clock.ts';
import { systemFiles } from '../main/node/files.ts';

const { signal } = new AbortController();
let rig: PlacementRig;

beforeEach(async () => {
  rig = await startPlacementRig();
});
afterEach(() => rig[Symbol.asyncDispose]());

/** Another process on this host, with an empty state directory. */
async function forgetful(): Promise<ReturnType<PlacementRig['makeNew']>> {
  await systemFiles.remove(`${rig.lab.folder}/placement.jsonl`);
  return rig.makeNew();
}

describe('add', () => {
  test('makes addresses of the LAN and routed ones answer, in both families', async () => {
    await rig.add(allAddresses);
    for (const text of allAddresses.keys()) await rig.answersPing(text);
    expect(await rig.places()).toEqual(
      expect.arrayContaining([
        'furiwake0 10.10.0.50/32 link',
        'furiwake0 10.50.0.1/32 link',
        'wan fd10::50/128 global',
        'furiwake0 fd50::1/128 global',
      ]),
    );
  });

  test('lets an IPv6 address of the link be resolved by neighbour solicitation', async () => {
    await rig.add(linkAddresses);
    await rig.lab.client.exec('ip', '-6', 'neighbour', 'flush', 'dev', 'eth0');
    await rig.answersPing('fd10::50');
    expect(await rig.neighbour('fd10::50')).toBe(await rig.macOf('wan'));
  });

  test('announces an address to a neighbour that knew another machine for it, in both families', async () => {
    for (const text of linkAddresses.keys()) await rig.pretendElsewhere(text);
    await rig.add(linkAddresses);
    const mac = await rig.macOf('wan');
    for (const text of linkAddresses.keys()) await expect.poll(() => rig.neighbour(text), patience).toBe(mac);
    expect(rig.warnings).toEqual([]);
  });

  test('announces three times, with ARP requests and neighbour advertisements that tcpdump considers valid', async () => {
    const lines = await rig.startCapture();
    await rig.add(linkAddresses);
    const mac = await rig.macOf('wan');
    const arp = `${mac} > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Ethernet (len 6), IPv4 (len 4), Request who-has 10.10.0.50 tell 10.10.0.50`;
    const advertisement = `${mac} > 33:33:00:00:00:01, ethertype IPv6 (0x86dd), length 86: (hlim 255, next-header ICMPv6 (58) payload length: 32) fd10::50 > ff02::1: [icmp6 sum ok] ICMP6, neighbor advertisement, length 32, tgt is fd10::50, Flags [override]`;
    const seen = (text: string): number => lines.filter((line) => line.includes(text)).length;
    await expect.poll(() => [seen(arp), seen(advertisement)], patience).toEqual([3, 3]);
  });

  test('keeps once where each of many addresses is, also when they need another interface', async () => {
    await rig.add(addressesOf(...Array.from({ length: 500 }, (_, index) => `10.51.${index >> 8}.${index & 255}`)));
    await rig.add(addressesOf('10.52.0.0', '10.52.0.1'));
    const { interfaces, present } = rig.network.memory.state();
    expect([present.get('10.51.0.0'), present.get('10.52.0.1')]).toEqual(['furiwake0', 'furiwake1']);
    expect(interfaces.find(({ name }) => name === 'furiwake0')?.addresses).toEqual([]);
  });

  test('never makes the host use an added address as source of its own connections', async () => {
    await rig.add(allAddresses);
    for (const device of ['wan', 'lan']) await rig.lab.balancer.exec('ip', '-4', 'address', 'flush', 'dev', device);
    await rig.lab.balancer.exec('ip', 'route', 'add', '10.99.0.0/16', 'dev', 'lan');
    expect(await rig.lab.balancer.exec('ip', 'route', 'get', '10.99.0.1')).not.toContain('src');
    expect(await rig.lab.balancer.exec('ip', 'route', 'get', 'fd10::2')).toContain('src fd10::1');
  });
});

describe('an address that the host itself has', () => {
  test('is not added again, and survives a removal and an audit', async () => {
    await rig.lab.balancer.exec('ip', 'address', 'add', '10.10.0.60/32', 'dev', 'lan');
    const before = await rig.places();
    const wanted = addressesOf('10.10.0.1', '10.10.0.60', 'fd10::1');
    expect(await rig.placement.add(wanted, signal)).toEqual([]);
    expect(await rig.audit(wanted)).toBe(0);
    await rig.placement.remove(none, signal);
    expect(await rig.places()).toEqual(before);
  });

  test('is known, whatever its scope', async () => {
    await rig.lab.balancer.exec('ip', 'address', 'add', '10.10.0.60/32', 'dev', 'lo', 'scope', 'host');
    const { own } = await rig.network.refresh(signal);
    expect([...own.keys()]).toContain('10.10.0.60');
    expect(await rig.placement.add(addressesOf('10.10.0.60'), signal)).toEqual([]);
  });

  test('does not include addresses of furiwake, loopback and link-local ones', async () => {
    await rig.add(allAddresses);
    for (const { network } of [rig, rig.makeNew()]) {
      const { own } = await network.refresh(signal);
      expect([...own.keys()].toSorted()).toEqual(['10.10.0.1', '10.20.0.1', 'fd10::1', 'fd20::1']);
    }
  });

  test('counts even if a record says that furiwake added it, when it is on another interface', async () => {
    await rig.add(addressesOf('10.10.0.50'));
    await rig.lab.balancer.exec('ip', 'link', 'delete', 'furiwake0'); // as after a reboot
    await rig.lab.balancer.exec('ip', 'address', 'add', '10.10.0.50/24', 'dev', 'wan');
    const { placement: restarted } = rig.makeNew();
    expect(await restarted.add(addressesOf('10.10.0.50'), signal)).toEqual([]);
    await restarted.audit(addressesOf('10.10.0.50'), signal);
    await restarted.remove(none, signal);
    expect(await rig.places()).toContain('wan 10.10.0.50/24 global');
  });

  test('and lost is added to the host when a Service has it', async () => {
    await rig.lab.balancer.exec('ip', 'address', 'add', '10.10.0.50/24', 'dev', 'wan');
    const wanted = addressesOf('10.10.0.50');
    expect(await rig.placement.add(wanted, signal)).toEqual([]);
    await rig.lab.balancer.exec('ip', 'address', 'delete', '10.10.0.50/24', 'dev', 'wan');
    expect(await rig.audit(wanted)).toBe(1);
    await rig.answersPing('10.10.0.50');
  });
});

describe('remove', () => {
  test('removes unwanted addresses and keeps the rest', async () => {
    const before = await rig.places();
    await rig.add(allAddresses);
    await rig.placement.remove(linkAddresses, signal);
    expect(await rig.places()).toEqual(
      [...before, 'furiwake0 10.10.0.50/32 link', 'wan fd10::50/128 global'].toSorted(),
    );
    await rig.placement.remove(none, signal);
    expect(await rig.places()).toEqual(before);
  });

  test('of all addresses leaves no interface and no record entry, and addresses can be added again', async () => {
    await rig.add(allAddresses);
    await rig.placement.remove(none, signal);
    expect(await rig.lab.balancer.exec('ip', '-brief', 'link')).not.toContain('furiwake0');
    await rig.add(routedAddresses);
    await rig.answersPing('10.50.0.1');
  });

  test('by another process removes the addresses of an earlier one', async () => {
    const before = await rig.places();
    await rig.add(allAddresses);
    await rig.makeNew().placement.remove(none, signal);
    expect(await rig.places()).toEqual(before);
  });

  test('removes all addresses of furiwake even when the record is lost', async () => {
    const before = await rig.places();
    await rig.add(allAddresses);
    const { network, placement } = await forgetful();
    const { own } = await network.refresh(signal);
    expect([...own.keys()].toSorted()).toEqual(['10.10.0.1', '10.20.0.1', 'fd10::1', 'fd20::1']);
    await placement.remove(none, signal);
    expect(await rig.places()).toEqual(before);
  });

  test('removes an address that a release without the mark added, when an audit has seen it and the record is lost', async () => {
    const before = await rig.places();
    await rig.add(linkAddresses);
    await rig.lab.balancer.exec('ip', 'address', 'delete', 'fd10::50/128', 'dev', 'wan');
    await rig.lab.balancer.exec('ip', 'address', 'add', 'fd10::50/128', 'dev', 'wan', 'preferred_lft', '0', 'nodad');
    expect(await rig.makeNew().placement.audit(linkAddresses, signal)).toEqual([]);
    await (await forgetful()).placement.remove(none, signal);
    expect(await rig.places()).toEqual(before);
  });
});

describe('the mark of an IPv6 address on the LAN', () => {
  const marks = async (): Promise<readonly string[]> =>
    [...(await rig.lab.balancer.exec('ip', '-6', 'address', 'show', 'dev', 'wan')).matchAll(/(\S+) metric 8201/g)].map(
      ([, cidr = '']) => cidr,
    );

  test('stays when its lifetime changes and when its interface goes down and comes up', async () => {
    await rig.add(linkAddresses);
    await rig.lab.balancer.exec('sysctl', '-qw', 'net.ipv6.conf.wan.keep_addr_on_down=1');
    for (const untilMs of [systemClock.monotonic() + 60_000, undefined]) {
      await rig.placement.keepUntil(untilMs, signal);
      expect(await marks()).toEqual(['fd10::50/128']);
    }
    for (const state of ['down', 'up']) await rig.lab.balancer.exec('ip', 'link', 'set', 'wan', state);
    expect(await marks()).toEqual(['fd10::50/128']);
  });

  test('changes no route but that to the address itself', async () => {
    const routes = async (): Promise<readonly string[]> =>
      (await rig.lab.balancer.exec('ip', '-6', 'route', 'show', 'table', 'all')).split('\n').toSorted();
    const before = await routes();
    await rig.add(addressesOf('fd10::50'));
    const added = (await routes()).filter((route) => !before.includes(route)).map((route) => route.trim());
    expect(added).toEqual([
      'fd10::50 dev wan proto kernel metric 8201 pref medium',
      'local fd10::50 dev wan table local proto kernel metric 0 pref medium',
    ]);
    await rig.placement.remove(none, signal);
    expect(await routes()).toEqual(before);
  });
});

describe('audit', () => {
  test('does nothing if nothing was added', async () => {
    await rig.add(allAddresses);
    expect(await rig.audit(allAddresses)).toBe(0);
  });

  test.each([
    ['the addresses were flushed', ['ip', 'address', 'flush', 'dev', 'furiwake0'], 3],
    ['the interface was deleted', ['ip', 'link', 'delete', 'furiwake0'], 3],
    ['the interface was set down', ['ip', 'link', 'set', 'furiwake0', 'down'], 1],
    ['one address was deleted', ['ip', 'address', 'delete', 'fd10::50/128', 'dev', 'wan'], 1],
  ])('restores everything when %s', async (_, [file = '', ...args], repairs) => {
    await rig.add(allAddresses);
    await rig.lab.balancer.exec(file, ...args);
    expect(await rig.audit(allAddresses)).toBe(repairs);
    expect(await rig.audit(allAddresses)).toBe(0);
    for (const text of allAddresses.keys()) await rig.answersPing(text);
  });
});
