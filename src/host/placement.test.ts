import { expect, test } from 'vitest';
import { makeFakeIp } from '../../test/make/fake-ip.ts';
import type { FakeLinks } from '../../test/make/fake-ip-links.ts';
import { silent } from '../../test/make/log.ts';
import { addressesOf } from '../../test/make/table.ts';
import { type VirtualClock, virtualClock } from '../../test/sim/virtual-clock.ts';
import type { AddressExpiry } from '../ports/address-expiry.ts';
import type { Placement } from '../ports/placement.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { makeNetwork, type Network } from './network.ts';
import { makePlacement } from './placement.ts';
import type { PlacementRecord } from '../ports/placement.ts';

const { signal } = new AbortController();
/** The commands that changed the host, without those that read it. */
const changesIn = (done: readonly string[]): readonly string[] => done.filter((what) => what !== 'list');

/** A host that records the order of the requests to it. */
function makeRig(): {
  readonly network: Network;
  readonly placement: Placement & AddressExpiry;
  readonly clock: VirtualClock;
  readonly links: FakeLinks;
  readonly done: string[];
  /** The kernel refuses commands with these words; `undefined`: none any more. */
  readonly failAt: (words: string | undefined) => void;
  /** `answer`: what a call waits for. */
  readonly disk: { isFull: boolean; answer?: Promise<void>; resolvConf?: string };
} {
  const clock = virtualClock();
  const done: string[] = [];
  let failing: string | undefined;
  const { exec, links } = makeFakeIp({
    clock,
    refuse: (command) => (failing !== undefined && command.includes(failing) ? 'no' : undefined),
    onCall: (call) => void done.push(call),
  });
  let kept: PlacementRecord = PersistentMap.empty();
  const disk: ReturnType<typeof makeRig>['disk'] = { isFull: false };
  const record = {
    read: async () => kept,
    write: async (next: PlacementRecord) => {
      if (disk.isFull) throw new Error('no space left on device');
      await disk.answer;
      done.push('record');
      kept = next;
    },
  };
  const files = {
    read: async () => {
      await disk.answer;
      return disk.resolvConf;
    },
  };
  const network = makeNetwork({ exec, files, record, clock, log: silent });
  const placement = makePlacement({ exec, network, clock, log: silent, lifetime: signal });
  return { network, placement, clock, links, done, failAt: (words) => (failing = words), disk };
}

test('an address is recorded before it is added', async () => {
  const { placement, done } = makeRig();
  await placement.add(addressesOf('192.0.2.50'), signal);
  expect(done[1]).toBe('record');
  expect(changesIn(done).at(-1)).toBe(
    'address add 192.0.2.50/32 dev furiwake0 scope link valid_lft forever preferred_lft forever',
  );
});

test('an address that cannot be recorded is added: it is found without the record, which is written when the disk has room again', async () => {
  const { placement, done, disk } = makeRig();
  disk.isFull = true;
  expect(await placement.add(addressesOf('192.0.2.50'), signal)).toHaveLength(1);
  expect(done).not.toContain('record');
  disk.isFull = false;
  await placement.audit(addressesOf('192.0.2.50'), signal);
  expect(done.filter((what) => what === 'record')).toHaveLength(1);
});

test('after a withdrawal on a full disk the addresses are added again', async () => {
  const { placement, done, disk } = makeRig();
  const wanted = addressesOf('192.0.2.50', '2001:db8::50');
  await placement.add(wanted, signal);
  disk.isFull = true;
  await placement.remove(addressesOf(), signal);
  const before = done.length;
  expect(await placement.add(wanted, signal)).toHaveLength(2);
  expect(changesIn(done.slice(before)).at(-1)).toContain('address add 192.0.2.50/32 dev furiwake0');
});

test('a full disk blocks neither a removal nor a repair', async () => {
  const { placement, links, done, disk } = makeRig();
  await placement.add(addressesOf('192.0.2.50', '192.0.2.51'), signal);
  disk.isFull = true;
  await placement.remove(addressesOf('192.0.2.50'), signal);
  expect(changesIn(done).at(-1)).toBe('address delete 192.0.2.51/32 dev furiwake0');
  links.takeAway('192.0.2.50');
  const restored = await placement.audit(addressesOf('192.0.2.50'), signal);
  expect(restored.map(({ text }) => text)).toEqual(['192.0.2.50']);
  disk.isFull = false;
  await placement.audit(addressesOf('192.0.2.50'), signal);
  expect(done.filter((what) => what === 'record')).toHaveLength(2);
});

test('a disk that hangs keeps no address from being removed, added or extended, and the record is saved when it answers', async () => {
  const { placement, clock, done, disk } = makeRig();
  const [kept, other] = [addressesOf('192.0.2.50'), addressesOf('192.0.2.50', '192.0.2.51')];
  await placement.add(other, signal);
  await placement.keepUntil(clock.monotonic() + 12_000, signal);
  const { promise, resolve } = Promise.withResolvers<void>();
  disk.answer = promise;
  await clock.drive(placement.remove(kept, signal));
  expect(changesIn(done).at(-1)).toContain('address delete 192.0.2.51/32');
  const removedMs = clock.monotonic();
  await clock.drive(placement.keepUntil(clock.monotonic() + 12_000, signal));
  expect(changesIn(done).at(-1)).toContain('address change 192.0.2.50/32');
  expect(await clock.drive(placement.add(other, signal))).toHaveLength(1);
  expect(clock.monotonic() - removedMs).toBe(0); // only the first one has waited
  for (const call of ['audit', 'check'] as const) await clock.drive(placement[call](other, signal));
  await clock.drive(placement.keepUntil(clock.monotonic() + 12_000, signal));
  expect(changesIn(done).at(-1)).toContain('address change 192.0.2.51/32');
  const saved = done.filter((what) => what === 'record').length;
  resolve();
  await clock.advance(0);
  await placement.audit(other, signal);
  expect(done.filter((what) => what === 'record').length).toBeGreaterThan(saved);
});

test('a removal that fails is made by the next call, though it asks for the same', async () => {
  const { placement, done, failAt } = makeRig();
  await placement.add(addressesOf('192.0.2.50'), signal);
  failAt(' delete ');
  await expect(placement.remove(addressesOf(), signal)).rejects.toThrow('no');
  failAt(undefined);
  const before = done.length;
  await placement.remove(addressesOf(), signal);
  expect(changesIn(done.slice(before))).toEqual([
    'address delete 192.0.2.50/32 dev furiwake0\nlink delete furiwake0',
    'record',
  ]);
});

test('the link of an address is known while another address is being added', async () => {
  const { network, placement, links, done } = makeRig();
  links.addEthernet('eth0', '198.51.100.1/24');
  await network.refresh(signal);
  const [address] = addressesOf('198.51.100.7').values();
  const lookUp = (): unknown => address && network.links.linkOf(address);
  expect(lookUp()).toEqual({ name: 'eth0', index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 });
  const adding = placement.add(addressesOf('192.0.2.50'), signal);
  let during = lookUp();
  while (!done.includes('record')) await Promise.resolve();
  during = lookUp();
  await adding;
  expect([during, lookUp()]).toEqual([lookUp(), { name: 'eth0', index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 }]);
});

test('an existing address causes no command', async () => {
  const { placement, done } = makeRig();
  await placement.add(addressesOf('192.0.2.50'), signal);
  const before = done.length;
  await placement.add(addressesOf('192.0.2.50'), signal);
  await placement.remove(addressesOf('192.0.2.50'), signal);
  expect(done).toHaveLength(before);
});

test('new addresses cause no further reading of the host', async () => {
  const { placement, done } = makeRig();
  for (const text of ['192.0.2.50', '192.0.2.51', '192.0.2.52']) await placement.add(addressesOf(text), signal);
  expect(done.filter((what) => what === 'list')).toHaveLength(2); // at first, and after the interface was created
});

test('several addresses are added by one call of ip', async () => {
  const { placement, done } = makeRig();
  await placement.add(addressesOf('192.0.2.50', '2001:db8::50'), signal);
  expect(changesIn(done).at(-1)?.split('\n')).toEqual([
    'address add 192.0.2.50/32 dev furiwake0 scope link valid_lft forever preferred_lft forever',
    'address add 2001:db8::50/128 dev furiwake0 valid_lft forever preferred_lft 0 nodad metric 8201',
  ]);
});

test('an address that the kernel refuses is reported with the cause, and the next audit retries it', async () => {
  const { network, placement, done, failAt } = makeRig();
  await placement.add(addressesOf('192.0.2.50'), signal);
  failAt('address add');
  expect(await placement.add(addressesOf('192.0.2.50', '192.0.2.51'), signal)).toEqual([]);
  expect([...network.addresses().refused]).toEqual([['192.0.2.51', 'furiwake0: no']]);
  failAt(undefined);
  done.length = 0;
  await placement.audit(addressesOf('192.0.2.50', '192.0.2.51'), signal);
  expect(done[0]).toBe('list');
  expect(changesIn(done).at(-1)).toContain('192.0.2.51/32');
});

test.each(['192.0.2.50', '192.0.2.51', '192.0.2.52'])(
  'the kernel refuses %s: the others are added',
  async (refused) => {
    const { placement, failAt } = makeRig();
    failAt(` ${refused}/`);
    const all = ['192.0.2.50', '192.0.2.51', '192.0.2.52'];
    const added = await placement.add(addressesOf(...all), signal);
    expect(added.map(({ text }) => text).sort()).toEqual(all.filter((text) => text !== refused));
  },
);

test('a check does not read the host, and retries what the kernel refused', async () => {
  const { network, placement, done, failAt } = makeRig();
  const wanted = addressesOf('192.0.2.50', '192.0.2.51');
  await placement.add(addressesOf('192.0.2.50'), signal);
  failAt('address add');
  await placement.add(wanted, signal);
  failAt(undefined);
  done.length = 0;
  expect((await placement.check(wanted, signal)).map(({ text }) => text)).toEqual(['192.0.2.51']);
  expect([changesIn(done).length, done.includes('list'), network.addresses().refused.size]).toEqual([1, false, 0]);
  done.length = 0;
  expect([await placement.check(wanted, signal), done]).toEqual([[], []]);
});

test('a check reads the host after a change that failed, and when it has other DNS servers', async () => {
  const { network, placement, done, failAt, disk } = makeRig();
  const wanted = addressesOf('192.0.2.50');
  await placement.add(wanted, signal);
  failAt(' delete ');
  await expect(placement.remove(addressesOf(), signal)).rejects.toThrow('no');
  failAt(undefined);
  const reads = async (): Promise<number> => {
    done.length = 0;
    await placement.check(wanted, signal);
    return done.filter((what) => what === 'list').length;
  };
  expect(await reads()).toBeGreaterThan(0);
  expect(await reads()).toBe(0);
  disk.resolvConf = 'nameserver 192.0.2.53\n';
  expect(await reads()).toBeGreaterThan(0);
  expect(await reads()).toBe(0);
  expect(network.addresses().needs.get('192.0.2.53')).toBe('DNS server of this host');
});

test('a kernel without dummy interfaces gets a bridge', async () => {
  const { placement, done, failAt } = makeRig();
  failAt('type dummy');
  await placement.add(addressesOf('192.0.2.50'), signal);
  expect(done.filter((what) => what.startsWith('link add'))).toEqual([
    'link add furiwake0 type dummy',
    'link add furiwake0 type bridge',
  ]);
});

test('a kernel without IPv6 refuses the IPv6 command and gets its addresses', async () => {
  const { placement, done, failAt } = makeRig();
  failAt('addrgenmode none');
  await placement.add(addressesOf('192.0.2.50'), signal);
  expect(changesIn(done).slice(-2)).toEqual([
    'link set furiwake0 up',
    'address add 192.0.2.50/32 dev furiwake0 scope link valid_lft forever preferred_lft forever',
  ]);
});

test('a thousand addresses are spread over interfaces, which are removed with their last address', async () => {
  const { placement, done } = makeRig();
  const many = addressesOf(...Array.from({ length: 1_001 }, (_, index) => `10.50.${index >> 8}.${index & 255}`));
  await placement.add(many, signal);
  const onInterface = (name: string): number => done.join('\n').split(` dev ${name} scope`).length - 1;
  expect(['furiwake0', 'furiwake1', 'furiwake2', 'furiwake3'].map(onInterface)).toEqual([500, 500, 1, 0]);
  done.length = 0;
  await placement.remove(addressesOf('10.50.0.0'), signal);
  const left = done.join('\n').match(/link delete \w+/g);
  expect(left).toHaveLength(2);
  expect(done.join('\n').match(/address delete/g)).toHaveLength(1_000);
});
