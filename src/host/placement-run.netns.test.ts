import { afterEach, beforeEach, expect, test } from 'vitest';
import { addressesOf } from '../../test/make/table.ts';
import { patience } from '../../test/netns/patience.ts';
import {
  allAddresses,
  linkAddresses,
  none,
  type PlacementRig,
  startPlacementRig,
} from '../../test/netns/placement-rig.ts';
import type { Addresses } from '../ports/host.ts';

const { signal } = new AbortController();
let rig: PlacementRig;

beforeEach(async () => {
  rig = await startPlacementRig();
});
afterEach(() => rig[Symbol.asyncDispose]());

/** Runs the placement and audits after each of its notifications alone, like the agent between its audits; counts the notifications. */
function startRunning(wanted: Addresses): { readonly told: () => number } & AsyncDisposable {
  const stop = new AbortController();
  let told = 0;
  let audits = Promise.resolve();
  const running = rig.network.watch(() => {
    told++;
    audits = audits.then(async () => void (await rig.audit(wanted)));
  }, stop.signal);
  return {
    told: () => told,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
      await audits;
    },
  };
}

const ipv4Addresses = allAddresses.with(
  Array.from(allAddresses.keys()).flatMap((text) => (text.includes(':') ? [[text, undefined] as const] : [])),
);

const ofOurs = async (): Promise<readonly string[]> =>
  (await rig.places()).filter((place) => [...allAddresses.keys()].some((text) => place.includes(` ${text}/`)));

test.each([
  ['one address is deleted', ['ip', 'address', 'delete', '10.50.0.1/32', 'dev', 'furiwake0']],
  ['an IPv6 address is deleted from the LAN', ['ip', 'address', 'delete', 'fd10::50/128', 'dev', 'wan']],
  ['all are flushed', ['ip', 'address', 'flush', 'dev', 'furiwake0']],
  ['the interface is deleted', ['ip', 'link', 'delete', 'furiwake0']],
])('restores everything as soon as the kernel reports that %s', async (_, [file = '', ...args]) => {
  await rig.add(allAddresses);
  const before = await ofOurs();
  expect(before).toHaveLength(4);
  await using running = startRunning(allAddresses);
  await expect.poll(running.told, patience).toBeGreaterThan(0);
  await rig.audit(allAddresses);
  await rig.lab.balancer.exec(file, ...args);
  await expect.poll(ofOurs, patience).toEqual(before);
});

test.each([
  ['with both families', allAddresses],
  ['with IPv4 alone, which the kernel keeps', ipv4Addresses],
])('sets the interface of furiwake up as soon as the kernel reports that it is down, %s', async (_, addresses) => {
  await rig.add(addresses);
  await using running = startRunning(addresses);
  await expect.poll(running.told, patience).toBeGreaterThan(0);
  await rig.lab.balancer.exec('ip', 'link', 'set', 'furiwake0', 'down');
  const isUp = async (): Promise<boolean> =>
    (await rig.lab.balancer.exec('ip', 'link', 'show', 'furiwake0')).includes(',UP');
  await expect.poll(isUp, patience).toBe(true);
  await expect.poll(ofOurs, patience).toHaveLength(addresses.size);
});

test('restores IPv6 addresses as soon as the kernel reports a link flap, and announces them', async () => {
  await rig.add(allAddresses);
  await using running = startRunning(allAddresses);
  await expect.poll(running.told, patience).toBeGreaterThan(0);
  const mac = await rig.macOf('wan');
  await rig.lab.balancer.exec('ip', 'link', 'set', 'wan', 'down');
  await expect.poll(ofOurs, patience).toContain('furiwake0 fd10::50/128 global');
  for (const text of linkAddresses.keys()) await rig.pretendElsewhere(text);
  await rig.lab.balancer.exec('ip', 'link', 'set', 'wan', 'up');
  await rig.lab.balancer.exec('ip', 'address', 'add', 'fd10::1/64', 'dev', 'wan', 'nodad');
  await expect.poll(ofOurs, patience).toContain('wan fd10::50/128 global');
  await expect.poll(ofOurs, patience).toHaveLength(4);
  for (const text of linkAddresses.keys()) await expect.poll(() => rig.neighbour(text), patience).toBe(mac);
});

test('announces addresses when only the link flapped, or the MAC changed', async () => {
  await rig.add(addressesOf('10.10.0.50'));
  await using running = startRunning(addressesOf('10.10.0.50'));
  await expect.poll(running.told, patience).toBeGreaterThan(0);
  await rig.lab.balancer.exec('ip', 'link', 'set', 'wan', 'down');
  await rig.pretendElsewhere('10.10.0.50');
  await rig.lab.balancer.exec('ip', 'link', 'set', 'wan', 'up');
  await expect.poll(() => rig.neighbour('10.10.0.50'), patience).toBe(await rig.macOf('wan'));
  await rig.lab.balancer.exec('ip', 'link', 'set', 'wan', 'address', '02:00:00:00:77:01');
  await expect.poll(() => rig.neighbour('10.10.0.50'), patience).toBe('02:00:00:00:77:01');
});

test.each([
  ['keeps its addresses', '1'],
  ['loses those of IPv6', '0'],
])(
  'follows an interface that is renamed and %s: added addresses stay reachable, and are removed with the Service',
  async (_, keeps) => {
    const { balancer } = rig.lab;
    await rig.add(allAddresses);
    await balancer.exec('sysctl', '-qw', `net.ipv6.conf.wan.keep_addr_on_down=${keeps}`);
    await using running = startRunning(allAddresses);
    await expect.poll(running.told, patience).toBeGreaterThan(0);
    await balancer.exec('ip', 'link', 'set', 'wan', 'down');
    await balancer.exec('ip', 'link', 'set', 'wan', 'name', 'renamed');
    await balancer.exec('ip', 'link', 'set', 'renamed', 'up');
    await balancer.exec('ip', 'address', 'replace', 'fd10::1/64', 'dev', 'renamed', 'nodad');
    await expect.poll(ofOurs, patience).toContain('renamed fd10::50/128 global');
    await rig.answersPing('fd10::50');
    await rig.audit(allAddresses);
    expect(rig.network.addresses().own.has('fd10::50')).toBe(false);
    await rig.placement.remove(none, signal);
    expect(await ofOurs()).toEqual([]);
  },
);

test('notifies of an own address that is added or removed, and a reading then shows it', async () => {
  await rig.add(allAddresses);
  await using running = startRunning(allAddresses);
  await expect.poll(running.told, patience).toBeGreaterThan(0);
  const isOwn = (): boolean => rig.network.addresses().own.has('10.10.0.99');
  await rig.lab.balancer.exec('ip', 'address', 'add', '10.10.0.99/24', 'dev', 'wan');
  await expect.poll(isOwn, patience).toBe(true);
  await rig.lab.balancer.exec('ip', 'address', 'delete', '10.10.0.99/24', 'dev', 'wan');
  await expect.poll(isOwn, patience).toBe(false);
});

test('notifies when forwarding is switched, and the text of the links is another one', async () => {
  await using running = startRunning(none);
  await expect.poll(running.told, patience).toBeGreaterThan(0);
  const [told, text] = [running.told(), rig.network.links.text()];
  await rig.lab.balancer.exec('sysctl', '-qw', 'net.ipv4.conf.wan.forwarding=0');
  await expect.poll(running.told, patience).toBeGreaterThan(told);
  expect(rig.network.links.text()).not.toBe(text);
});

test('notifies of the default route: the host’s own address then changes', async () => {
  await rig.add(allAddresses);
  await using running = startRunning(allAddresses);
  await expect.poll(running.told, patience).toBeGreaterThan(0);
  const primary = (): string | undefined => rig.network.addresses().primary[0]?.text;
  await rig.lab.balancer.exec('ip', 'route', 'replace', 'default', 'via', '10.10.0.2', 'dev', 'wan');
  await expect.poll(primary, patience).toBe('10.10.0.1');
  await rig.lab.balancer.exec('ip', 'route', 'replace', 'default', 'dev', 'lan');
  await expect.poll(primary, patience).toBe('10.20.0.1');
});

test('does not notify of changes by furiwake itself', async () => {
  await rig.network.refresh(signal);
  await using running = startRunning(none);
  await expect.poll(running.told, patience).toBe(1);
  /** A mark in the stream of events, of which it notifies: all before it have arrived then. */
  const mark = async (address: string): Promise<void> => {
    await rig.lab.balancer.exec('ip', 'address', 'add', `${address}/24`, 'dev', 'wan');
    await expect.poll(() => rig.network.addresses().own.has(address), patience).toBe(true);
  };
  await rig.placement.audit(none, signal);
  await rig.placement.add(allAddresses, signal);
  await mark('10.10.0.97');
  await rig.placement.add(allAddresses.with(addressesOf('10.50.0.2')), signal);
  await mark('10.10.0.98');
  await rig.placement.remove(addressesOf('fd10::50', '10.50.0.2'), signal);
  await mark('10.10.0.99');
  expect(running.told()).toBe(4);
});
