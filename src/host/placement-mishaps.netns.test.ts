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

test('a record that somebody has cut short stops nothing, and is whole again after the next change', async () => {
  const path = `${rig.lab.folder}/addresses.json`;
  await rig.announcer.ensure(routedAddresses, signal);
  await systemFiles.write(path, '{"version":1,"addr');
  const restarted = rig.makeNew();
  await restarted.ensure(routedAddresses, signal);
  await restarted.ensure(allAddresses, signal);
  for (const text of allAddresses.keys()) await rig.answersPing(text);
  expect(await systemFiles.read(path)).toMatch(/10\.50\.0\.1.*fd10::50|fd10::50.*10\.50\.0\.1/);
  expect(await restarted.audit(signal)).toBe(0);
});

describe('after a restart that was faster than the network', () => {
  test.each([
    ['10.10.0.50', '10.10.0.50/24'],
    ['fd50::1', 'fd50::1/64'],
  ])('the own address %s comes later: it is left to the host', async (text, own) => {
    await rig.announcer.ensure(allAddresses, signal);
    await rig.lab.balancer.exec('ip', 'address', 'add', own, 'dev', 'wan', ...(text.includes(':') ? ['nodad'] : []));
    expect(await rig.announcer.audit(signal)).toBe(0);
    expect((await rig.announcer.added(allAddresses, signal)).has(text)).toBe(false);
    expect(rig.announcer.knownOwn().has(text)).toBe(true);
    expect((await rig.places()).filter((place) => place.includes(` ${text}/`))).toEqual([`wan ${own} global`]);
    await rig.answersPing(text);
    await rig.announcer.release(none, signal);
    expect(await rig.places()).toContain(`wan ${own} global`);
  });

  test('an own address that is one of ours on the LAN, as DHCPv6 gives it, is the host’s as soon as it is preferred', async () => {
    await rig.announcer.ensure(linkAddresses, signal);
    await rig.lab.balancer.exec('ip', 'address', 'change', 'fd10::50/128', 'dev', 'wan', 'preferred_lft', '3600');
    await rig.announcer.audit(signal);
    expect([...(await rig.announcer.added(linkAddresses, signal)).keys()]).toEqual(['10.10.0.50']);
    await rig.announcer.release(none, signal);
    expect(await rig.places()).toContain('wan fd10::50/128 global');
  });

  test('the prefix comes later: IPv6 addresses move to the LAN and are announced', async () => {
    await rig.lab.balancer.exec('ip', 'address', 'delete', 'fd10::1/64', 'dev', 'wan');
    await rig.announcer.ensure(allAddresses, signal);
    expect(await rig.places()).toContain('furiwake0 fd10::50/128 global');
    await rig.pretendElsewhere('fd10::50');
    await rig.lab.balancer.exec('ip', 'address', 'add', 'fd10::1/64', 'dev', 'wan', 'nodad');
    expect(await rig.announcer.audit(signal)).toBe(0);
    const ofIt = (await rig.places()).filter((place) => place.includes('fd10::50'));
    expect(ofIt).toEqual(['wan fd10::50/128 global']);
    await expect.poll(() => rig.neighbour('fd10::50'), patience).toBe(await rig.macOf('wan'));
    await rig.answersPing('fd10::50');
    expect(await rig.makeNew().audit(signal)).toBe(0);
    await rig.announcer.release(none, signal);
    expect(await rig.places()).not.toContain('wan fd10::50/128 global');
  });

  test('the last address that moves takes our interface with it', async () => {
    await rig.lab.balancer.exec('ip', 'address', 'delete', 'fd10::1/64', 'dev', 'wan');
    await rig.announcer.ensure(addressesOf('fd10::50'), signal);
    await rig.lab.balancer.exec('ip', 'address', 'add', 'fd10::1/64', 'dev', 'wan', 'nodad');
    await rig.announcer.audit(signal);
    expect(await rig.lab.balancer.exec('ip', '-brief', 'link')).not.toContain('furiwake0');
    await rig.announcer.ensure(allAddresses, signal);
    expect(await rig.announcer.audit(signal)).toBe(0);
  });

  test('what was recorded is known, and what is on our interface without a record', async () => {
    await rig.announcer.ensure(linkAddresses, signal);
    expect([...(await rig.makeNew().recorded(allAddresses, signal)).keys()].toSorted()).toEqual([
      '10.10.0.50',
      'fd10::50',
    ]);
    await rig.lab.balancer.exec('ip', 'link', 'delete', 'furiwake0'); // as after a reboot
    expect([...(await rig.makeNew().recorded(allAddresses, signal)).keys()].toSorted()).toEqual([
      '10.10.0.50',
      'fd10::50',
    ]);
    expect((await rig.makeNew().recorded(routedAddresses, signal)).size).toBe(0);
  });
});

describe('an address that the kernel does not take', () => {
  test('is no reason to leave out the others, and is tried again', async () => {
    await rig.lab.balancer.exec('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
    await rig.announcer.ensure(allAddresses, signal);
    await rig.announcer.ensure(allAddresses.with(addressesOf('10.50.0.2')), signal);
    for (const text of ['10.10.0.50', 'fd10::50', '10.50.0.1', '10.50.0.2']) await rig.answersPing(text);
    const refused = new Map([['fd50::1', expect.stringMatching(/^furiwake0: .*IPv6 is disabled/)]]);
    expect(rig.announcer.refused()).toEqual(refused);
    expect(await rig.announcer.audit(signal)).toBe(0);
    expect(rig.announcer.refused()).toEqual(refused);
    expect(rig.warnings).toHaveLength(1);
    await rig.lab.balancer.exec('sysctl', '-qw', 'net.ipv6.conf.furiwake0.disable_ipv6=0');
    expect(await rig.announcer.audit(signal)).toBe(1);
    await rig.answersPing('fd50::1');
    expect(rig.announcer.refused()).toEqual(new Map());
  });

  test('leaves nothing behind when it goes', async () => {
    await rig.lab.balancer.exec('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
    const before = await rig.places();
    await rig.announcer.ensure(routedAddresses, signal);
    await rig.announcer.release(none, signal);
    expect(rig.announcer.refused()).toEqual(new Map());
    expect(await rig.places()).toEqual(before);
    expect(await systemFiles.read(`${rig.lab.folder}/addresses.json`)).toBeUndefined();
  });
});
