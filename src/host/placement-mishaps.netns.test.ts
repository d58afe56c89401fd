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
import { systemFiles } from '../main/node/files.ts';

const { signal } = new AbortController();
let rig: PlacementRig;

beforeEach(async () => {
  rig = await startPlacementRig();
});
afterEach(() => rig[Symbol.asyncDispose]());

test('a truncated record does not stop placement, and is complete again after the next change', async () => {
  const path = `${rig.lab.folder}/placement.jsonl`;
  await rig.add(routedAddresses);
  const whole = (await systemFiles.read(path)) ?? '';
  await systemFiles.write(path, whole.slice(0, whole.length - 9));
  const { placement: restarted } = rig.makeNew();
  await restarted.add(routedAddresses, signal);
  await restarted.add(allAddresses, signal);
  for (const text of allAddresses.keys()) await rig.answersPing(text);
  for (const text of allAddresses.keys()) expect(await rig.record()).toContain(`"${text}"`);
  expect(await restarted.audit(allAddresses, signal)).toEqual([]);
});

test('an address that is gone before it is removed fails nothing, and keeps no other one on the host', async () => {
  await rig.add(allAddresses);
  const first = (await rig.places()).find((place) => place.startsWith('furiwake0 '));
  await rig.lab.balancer.exec('ip', 'address', 'delete', first?.split(' ')[1] ?? '', 'dev', 'furiwake0');
  await rig.placement.remove(none, signal);
  for (const text of allAddresses.keys()) expect(await rig.places()).not.toContainEqual(expect.stringContaining(text));
});

describe('after a restart that is faster than the network', () => {
  test.each([
    ['10.10.0.50', '10.10.0.50/24'],
    ['fd50::1', 'fd50::1/64'],
  ])('the own address %s appears later: furiwake leaves it to the host', async (text, own) => {
    await rig.add(allAddresses);
    await rig.lab.balancer.exec('ip', 'address', 'add', own, 'dev', 'wan', ...(text.includes(':') ? ['nodad'] : []));
    expect(await rig.audit(allAddresses)).toBe(0);
    expect(rig.network.addresses().own.has(text)).toBe(true);
    expect((await rig.places()).filter((place) => place.includes(` ${text}/`))).toEqual([`wan ${own} global`]);
    await rig.answersPing(text);
    await rig.placement.remove(none, signal);
    expect(await rig.places()).toContain(`wan ${own} global`);
  });

  test('an address of furiwake on the LAN that DHCPv6 also assigns is the host’s own as soon as it is preferred', async () => {
    await rig.add(linkAddresses);
    await rig.lab.balancer.exec('ip', 'address', 'change', 'fd10::50/128', 'dev', 'wan', 'preferred_lft', '3600');
    await rig.audit(linkAddresses);
    expect(rig.network.addresses().own.has('fd10::50')).toBe(true);
    await rig.placement.remove(none, signal);
    expect(await rig.places()).toContain('wan fd10::50/128 global');
  });

  test('the prefix appears later: IPv6 addresses move to the LAN and are announced', async () => {
    await rig.lab.balancer.exec('ip', 'address', 'delete', 'fd10::1/64', 'dev', 'wan');
    await rig.add(allAddresses);
    expect(await rig.places()).toContain('furiwake0 fd10::50/128 global');
    await rig.pretendElsewhere('fd10::50');
    await rig.lab.balancer.exec('ip', 'address', 'add', 'fd10::1/64', 'dev', 'wan', 'nodad');
    expect(await rig.audit(allAddresses)).toBe(1);
    const ofIt = (await rig.places()).filter((place) => place.includes('fd10::50'));
    expect(ofIt).toEqual(['wan fd10::50/128 global']);
    await expect.poll(() => rig.neighbour('fd10::50'), patience).toBe(await rig.macOf('wan'));
    await rig.answersPing('fd10::50');
    expect(await rig.makeNew().placement.audit(allAddresses, signal)).toEqual([]);
    await rig.placement.remove(none, signal);
    expect(await rig.places()).not.toContain('wan fd10::50/128 global');
  });

  test('the interface is removed with the last address that moves', async () => {
    await rig.lab.balancer.exec('ip', 'address', 'delete', 'fd10::1/64', 'dev', 'wan');
    await rig.add(addressesOf('fd10::50'));
    await rig.lab.balancer.exec('ip', 'address', 'add', 'fd10::1/64', 'dev', 'wan', 'nodad');
    await rig.audit(addressesOf('fd10::50'));
    expect(await rig.lab.balancer.exec('ip', '-brief', 'link')).not.toContain('furiwake0');
    await rig.add(allAddresses);
    expect(await rig.audit(allAddresses)).toBe(0);
  });
});

describe('an address that the kernel refuses', () => {
  test('does not block the others, and is retried', async () => {
    await rig.lab.balancer.exec('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
    await rig.add(allAddresses);
    const wanted = allAddresses.with(addressesOf('10.50.0.2'));
    await rig.add(wanted);
    for (const text of ['10.10.0.50', 'fd10::50', '10.50.0.1', '10.50.0.2']) await rig.answersPing(text);
    const refused = new Map([['fd50::1', expect.stringMatching(/^furiwake0: .*IPv6 is disabled/)]]);
    expect(rig.network.addresses().refused).toEqual(refused);
    expect(await rig.audit(wanted)).toBe(0);
    expect(rig.network.addresses().refused).toEqual(refused);
    expect(rig.warnings).toHaveLength(1);
    await rig.lab.balancer.exec('sysctl', '-qw', 'net.ipv6.conf.furiwake0.disable_ipv6=0');
    expect(await rig.audit(wanted)).toBe(1);
    await rig.answersPing('fd50::1');
    expect(rig.network.addresses().refused).toEqual(new Map());
  });

  test('leaves no trace when it is removed', async () => {
    await rig.lab.balancer.exec('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
    const before = await rig.places();
    await rig.add(routedAddresses);
    await rig.placement.remove(none, signal);
    expect(rig.network.addresses().refused).toEqual(new Map());
    expect(await rig.places()).toEqual(before);
  });
});

test('a cable that is pulled, and plugged in again, is noticed', async () => {
  const { network, lab } = rig;
  const stop = new AbortController();
  const watching = network.watch(() => void network.refresh(signal), stop.signal);
  for (const state of ['up', 'down', 'up']) {
    await lab.client.exec('ip', 'link', 'set', 'eth0', state);
    for (const address of linkAddresses.values())
      await expect.poll(() => network.hasCarrier(address), patience).toBe(state === 'up');
  }
  for (const address of routedAddresses.values()) expect(network.hasCarrier(address)).toBe(undefined);
  stop.abort();
  await watching;
});
