import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type AnnouncerRig,
  allAddresses,
  linkAddresses,
  none,
  routedAddresses,
  startAnnouncerRig,
} from '../../test/netns/announcer-rig.ts';
import { patience } from '../../test/netns/patience.ts';
import { addressesOf } from '../../test/make/table.ts';
import { systemFiles } from '../main/node/files.ts';

const { signal } = new AbortController();
let rig: AnnouncerRig;

beforeEach(async () => {
  rig = await startAnnouncerRig();
});
afterEach(() => rig[Symbol.asyncDispose]());

describe('ensure', () => {
  test('makes addresses of the link and routed ones answer, in both families', async () => {
    await rig.announcer.ensure(allAddresses, signal);
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
    await rig.announcer.ensure(linkAddresses, signal);
    await rig.lab.client.exec('ip', '-6', 'neighbour', 'flush', 'dev', 'eth0');
    await rig.answersPing('fd10::50');
    expect(await rig.neighbour('fd10::50')).toBe(await rig.macOf('wan'));
  });

  test('announces an address to a neighbour that knew it elsewhere, in both families', async () => {
    for (const text of linkAddresses.keys()) await rig.pretendElsewhere(text);
    await rig.announcer.ensure(linkAddresses, signal);
    const mac = await rig.macOf('wan');
    for (const text of linkAddresses.keys()) await expect.poll(() => rig.neighbour(text), patience).toBe(mac);
    expect(rig.warnings).toEqual([]);
  });

  test('announces three times, an ARP request and a neighbour advertisement that tcpdump finds right', async () => {
    const lines = await rig.startCapture();
    await rig.announcer.ensure(linkAddresses, signal);
    const mac = await rig.macOf('wan');
    const arp = `${mac} > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Ethernet (len 6), IPv4 (len 4), Request who-has 10.10.0.50 tell 10.10.0.50`;
    const advertisement = `${mac} > 33:33:00:00:00:01, ethertype IPv6 (0x86dd), length 86: (hlim 255, next-header ICMPv6 (58) payload length: 32) fd10::50 > ff02::1: [icmp6 sum ok] ICMP6, neighbor advertisement, length 32, tgt is fd10::50, Flags [override]`;
    const seen = (text: string): number => lines.filter((line) => line.includes(text)).length;
    await expect.poll(() => [seen(arp), seen(advertisement)], patience).toEqual([3, 3]);
  });

  test('never makes the host use an address of ours as source of its own connections', async () => {
    await rig.announcer.ensure(allAddresses, signal);
    for (const device of ['wan', 'lan']) await rig.lab.balancer.exec('ip', '-4', 'address', 'flush', 'dev', device);
    await rig.lab.balancer.exec('ip', 'route', 'add', '10.99.0.0/16', 'dev', 'lan');
    expect(await rig.lab.balancer.exec('ip', 'route', 'get', '10.99.0.1')).not.toContain('src');
    expect(await rig.lab.balancer.exec('ip', 'route', 'get', 'fd10::2')).toContain('src fd10::1');
  });
});

describe('what the host has without us', () => {
  test('is not ours, is not added again, and survives a release and an audit', async () => {
    await rig.lab.balancer.exec('ip', 'address', 'add', '10.10.0.60/32', 'dev', 'lan');
    const before = await rig.places();
    const wanted = addressesOf('10.10.0.1', '10.10.0.60', 'fd10::1');
    expect(await rig.announcer.added(wanted, signal)).toEqual(none);
    await rig.announcer.ensure(wanted, signal);
    await rig.announcer.audit(signal);
    await rig.announcer.release(none, signal);
    expect(await rig.places()).toEqual(before);
  });

  test('is known at each look, of whatever scope it is', async () => {
    await rig.lab.balancer.exec('ip', 'address', 'add', '10.10.0.60/32', 'dev', 'lo', 'scope', 'host');
    const wanted = addressesOf('10.10.0.60');
    expect((await rig.announcer.added(wanted, signal)).size).toBe(0);
    expect((await rig.announcer.ownAddresses(signal)).map(({ text }) => text)).toContain('10.10.0.60');
    expect((await rig.announcer.added(wanted, signal)).size).toBe(0);
  });

  test('leaves out addresses of ours, loopback and link-local ones', async () => {
    await rig.announcer.ensure(allAddresses, signal);
    const own = (await rig.announcer.ownAddresses(signal)).map(({ text }) => text);
    expect(own.toSorted()).toEqual(['10.10.0.1', '10.20.0.1', 'fd10::1', 'fd20::1']);
    expect(await rig.makeNew().ownAddresses(signal)).toHaveLength(4);
  });

  test('counts even when a record says that we added it, if it is elsewhere than we put it', async () => {
    await rig.announcer.ensure(addressesOf('10.10.0.50'), signal);
    await rig.lab.balancer.exec('ip', 'link', 'delete', 'furiwake0'); // as after a reboot
    await rig.lab.balancer.exec('ip', 'address', 'add', '10.10.0.50/24', 'dev', 'wan');
    const restarted = rig.makeNew();
    expect(await restarted.added(addressesOf('10.10.0.50'), signal)).toEqual(none);
    await restarted.ensure(addressesOf('10.10.0.50'), signal);
    await restarted.audit(signal);
    await restarted.release(none, signal);
    expect(await rig.places()).toContain('wan 10.10.0.50/24 global');
  });
});

describe('release', () => {
  test('removes what is no longer wanted and leaves the rest', async () => {
    const before = await rig.places();
    await rig.announcer.ensure(allAddresses, signal);
    await rig.announcer.release(linkAddresses, signal);
    expect(await rig.places()).toEqual(
      [...before, 'furiwake0 10.10.0.50/32 link', 'wan fd10::50/128 global'].toSorted(),
    );
    await rig.announcer.release(none, signal);
    expect(await rig.places()).toEqual(before);
  });

  test('of all leaves nothing behind: no interface, no record; and addresses can come again', async () => {
    await rig.announcer.ensure(allAddresses, signal);
    await rig.announcer.release(none, signal);
    expect(await rig.lab.balancer.exec('ip', '-brief', 'link')).not.toContain('furiwake0');
    expect(await systemFiles.read(`${rig.lab.folder}/addresses.json`)).toBeUndefined();
    await rig.announcer.ensure(routedAddresses, signal);
    await rig.answersPing('10.50.0.1');
  });

  test('by another process removes what an earlier one added', async () => {
    const before = await rig.places();
    await rig.announcer.ensure(allAddresses, signal);
    await rig.makeNew().release(none, signal);
    expect(await rig.places()).toEqual(before);
  });

  test('removes what is on our interface even when the record is lost', async () => {
    await rig.announcer.ensure(routedAddresses, signal);
    await systemFiles.remove(`${rig.lab.folder}/addresses.json`);
    await rig.makeNew().release(none, signal);
    expect(await rig.lab.balancer.exec('ip', '-brief', 'link')).not.toContain('furiwake0');
  });
});

describe('audit', () => {
  test('finds nothing to do when nothing was done', async () => {
    await rig.announcer.ensure(allAddresses, signal);
    expect(await rig.announcer.audit(signal)).toBe(0);
  });

  test.each([
    ['the addresses were flushed', ['ip', 'address', 'flush', 'dev', 'furiwake0'], 3],
    ['our interface was deleted', ['ip', 'link', 'delete', 'furiwake0'], 3],
    ['our interface was set down', ['ip', 'link', 'set', 'furiwake0', 'down'], 2],
    ['one address was deleted', ['ip', 'address', 'delete', 'fd10::50/128', 'dev', 'wan'], 1],
  ])('puts everything back when %s', async (_, [file = '', ...args], repairs) => {
    await rig.announcer.ensure(allAddresses, signal);
    await rig.lab.balancer.exec(file, ...args);
    expect(await rig.announcer.audit(signal)).toBe(repairs);
    expect(await rig.announcer.audit(signal)).toBe(0);
    for (const text of allAddresses.keys()) await rig.answersPing(text);
  });
});
