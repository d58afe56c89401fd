import { describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/main/node/clock.ts';
import { usualCallMs } from '../../src/ports/call-times.ts';
import type { AddressExpiry } from '../../src/ports/address-expiry.ts';
import type { HostNetwork, Links } from '../../src/ports/network.ts';
import type { Placement } from '../../src/ports/placement.ts';
import { addressesOf } from '../make/table.ts';
import { patience } from '../netns/patience.ts';
import { fastestMs, timedScenes } from './in-time.ts';

/** A host without addresses of furiwake, and the suite's actions on it from outside. */
export type PlacementScene = AsyncDisposable & {
  readonly placement: Placement & AddressExpiry;
  readonly network: HostNetwork;
  readonly links: Links;
  /** Whether a host on the LAN, or behind a router, reaches the address here. */
  has(address: string): Promise<boolean>;
  /** Adds an own address to the host. */
  giveOwn(address: string): Promise<void>;
  /** Removes an address from the host, own or added. */
  takeAway(address: string): Promise<void>;
  /** From now on the kernel refuses `fd50::1`, or accepts it again. */
  refuse(isRefused: boolean): Promise<void>;
  /** The link of 10.10.0.0/24 and fd10::/64 goes down and comes up; its IPv4 addresses stay. */
  flapLink(): Promise<void>;
};

const { signal } = new AbortController();
const [lan, lan6, routed, routed6] = ['10.10.0.50', 'fd10::50', '10.50.0.1', 'fd50::1'] as const;
const all = addressesOf(lan, lan6, routed, routed6);
const none = addressesOf();
const mac = expect.stringMatching(/^(?:[\da-f]{2}:){5}[\da-f]{2}$/);
const textsOf = (addresses: readonly { readonly text: string }[]): readonly string[] =>
  addresses.map(({ text }) => text).toSorted();

/** The contract of every implementation of the two ports. */
export function placementContract(name: string, makeGiven: () => Promise<PlacementScene>): void {
  const makeScene = timedScenes(makeGiven, 'placement');
  const found = async (scene: PlacementScene): Promise<readonly string[]> => {
    const answers: string[] = [];
    for (const text of all.keys()) if (await scene.has(text)) answers.push(text);
    return answers.toSorted();
  };

  describe(`placement contract: ${name}`, () => {
    test('addresses are added, the new ones are reported, and they are removed', async () => {
      await using scene = await makeScene();
      const { placement } = scene;
      expect(textsOf(await placement.add(addressesOf(lan, lan6), signal))).toEqual([lan, lan6].toSorted());
      expect(textsOf(await placement.add(all, signal))).toEqual([routed, routed6].toSorted());
      expect(await placement.add(all, signal)).toEqual([]);
      expect(await found(scene)).toEqual([...all.keys()].toSorted());
      await placement.remove(addressesOf(lan, routed6), signal);
      expect(await found(scene)).toEqual([lan, routed6].toSorted());
      expect(await placement.remove(none, signal)).toBe(true);
      expect(await placement.remove(none, signal)).toBe(false);
      expect(await found(scene)).toEqual([]);
    });

    test('a change of an address takes no longer than a pass waits for it', async () => {
      await using scene = await makeScene();
      await scene.placement.add(addressesOf(lan), signal);
      const tookMs = await fastestMs(async () => {
        await scene.placement.add(addressesOf(lan, routed), signal);
        await scene.placement.remove(addressesOf(lan), signal);
      });
      expect(tookMs).toBeLessThanOrEqual(usualCallMs);
    });

    test('adding removes nothing, and removing adds nothing', async () => {
      await using scene = await makeScene();
      const { placement } = scene;
      await placement.add(addressesOf(lan), signal);
      await placement.add(addressesOf(routed), signal);
      expect(await found(scene)).toEqual([lan, routed].toSorted());
      await placement.remove(addressesOf(routed, lan6), signal);
      expect(await found(scene)).toEqual([routed]);
    });

    test('an address that was removed can be added again', async () => {
      await using scene = await makeScene();
      const { placement } = scene;
      for (let time = 0; time < 2; time++) {
        expect(textsOf(await placement.add(addressesOf(lan), signal))).toEqual([lan]);
        await placement.remove(none, signal);
      }
    });

    test.each(['add', 'audit', 'check'] as const)(
      'the kernel removes addresses whose lifetime ends; a new one does not restore them, and %s does',
      async (restore) => {
        await using scene = await makeScene();
        const { placement } = scene;
        await placement.add(addressesOf(lan, lan6), signal);
        const inSeconds = (seconds: number): number => systemClock.monotonic() + 1000 * seconds;
        await placement.keepUntil(inSeconds(2), signal);
        await placement.add(all, signal); // with the same lifetime
        await vi.waitUntil(async () => (await found(scene)).length === 0, patience);
        for (const call of ['add', 'audit'] as const) expect(await placement[call](all, signal)).toEqual([]);
        expect(await found(scene)).toEqual([]);
        await placement.keepUntil(inSeconds(60), signal);
        expect(await found(scene)).toEqual([]);
        expect(textsOf(await placement[restore](all, signal))).toEqual([...all.keys()].toSorted());
      },
    );

    test('an extended lifetime, and one without end, keep the addresses', async () => {
      await using scene = await makeScene();
      const { placement } = scene;
      await placement.add(all, signal);
      await placement.keepUntil(systemClock.monotonic() + 1_000, signal);
      await placement.keepUntil(systemClock.monotonic() + 60_000, signal);
      await placement.remove(addressesOf(lan, lan6, routed), signal);
      await placement.keepUntil(systemClock.monotonic() + 1_000, signal);
      await placement.keepUntil(undefined, signal);
      const until = systemClock.monotonic() + 2_500;
      await vi.waitUntil(() => systemClock.monotonic() > until, patience);
      expect(await found(scene)).toEqual([lan, lan6, routed].toSorted());
    });

    test('addresses that the kernel would keep without end are removed, those with a lifetime stay', async () => {
      await using scene = await makeScene();
      const { placement } = scene;
      await placement.add(all, signal);
      await placement.keepUntil(systemClock.monotonic() + 60_000, signal);
      await placement.removeUnending(signal);
      expect(await found(scene)).toEqual([...all.keys()].toSorted());
      await placement.keepUntil(undefined, signal);
      await placement.removeUnending(signal);
      expect(await found(scene)).toEqual([]);
    });

    test('an audit restores missing addresses, reports them, and then finds no difference', async () => {
      await using scene = await makeScene();
      const { placement } = scene;
      await placement.add(all, signal);
      await scene.takeAway(lan6);
      await scene.takeAway(routed);
      expect(textsOf(await placement.audit(all, signal))).toEqual([lan6, routed].toSorted());
      expect(await found(scene)).toEqual([...all.keys()].toSorted());
      expect([await placement.audit(all, signal), await placement.check(all, signal)]).toEqual([[], []]);
    });

    test('an own address of the host is neither added nor removed', async () => {
      await using scene = await makeScene();
      const { network, placement } = scene;
      await scene.giveOwn(lan);
      await network.refresh(signal);
      expect(network.addresses().own.has(lan)).toBe(true);
      expect(await placement.add(addressesOf(lan), signal)).toEqual([]);
      await placement.remove(none, signal);
      expect(await scene.has(lan)).toBe(true);
    });

    test('an own address that the host has lost is added when it is wanted', async () => {
      await using scene = await makeScene();
      const { network, placement } = scene;
      await scene.giveOwn(lan);
      await network.refresh(signal);
      await placement.add(addressesOf(lan), signal);
      await scene.takeAway(lan);
      expect(textsOf(await placement.audit(addressesOf(lan), signal))).toEqual([lan]);
      expect(await scene.has(lan)).toBe(true);
      await placement.remove(none, signal);
      expect(await scene.has(lan)).toBe(false);
    });

    test('an own address that the host has lost and that is not wanted is not added', async () => {
      await using scene = await makeScene();
      const { network, placement } = scene;
      await scene.giveOwn(lan);
      await network.refresh(signal);
      await placement.add(none, signal);
      await scene.takeAway(lan);
      await placement.audit(none, signal);
      await placement.add(addressesOf(routed), signal);
      expect(await found(scene)).toEqual([routed]);
      expect(network.addresses().own.has(lan)).toBe(false);
    });

    test('an address of furiwake that another program configures is left to the host', async () => {
      await using scene = await makeScene();
      const { network, placement } = scene;
      await placement.add(addressesOf(lan, routed), signal);
      await scene.giveOwn(lan);
      expect(await placement.audit(addressesOf(lan, routed), signal)).toEqual([]);
      expect(network.addresses().own.has(lan)).toBe(true);
      await scene.takeAway(lan);
      expect(await scene.has(lan)).toBe(false); // furiwake has removed its own
      await scene.giveOwn(lan);
      await placement.remove(none, signal);
      expect(await found(scene)).toEqual([lan]);
    });

    test('an address that the kernel refuses is reported with the cause until it is accepted or unwanted; the others are added', async () => {
      await using scene = await makeScene();
      const { network, placement } = scene;
      await scene.refuse(true);
      expect(textsOf(await placement.add(all, signal))).toEqual([lan, lan6, routed].toSorted());
      expect([...network.addresses().refused]).toEqual([[routed6, expect.stringMatching(/^.+$/)]]);
      expect(await placement.audit(all, signal)).toEqual([]);
      expect([...network.addresses().refused.keys()]).toEqual([routed6]);
      await placement.remove(addressesOf(lan), signal);
      expect(network.addresses().refused.size).toBe(0);
      await placement.add(all, signal);
      await scene.refuse(false);
      expect(textsOf(await placement.audit(all, signal))).toContain(routed6);
      expect(network.addresses().refused.size).toBe(0);
    });

    test('unchanged facts about the host keep their identity', async () => {
      await using scene = await makeScene();
      const { network, placement } = scene;
      await scene.giveOwn(lan);
      const before = await network.refresh(signal);
      await placement.add(addressesOf(routed), signal);
      await placement.audit(addressesOf(routed), signal);
      await placement.remove(none, signal);
      expect(network.addresses()).toBe(before);
      expect(await network.refresh(signal)).toBe(before);
    });

    test('an aborted call rejects with the reason, and adds nothing', async () => {
      await using scene = await makeScene();
      const aborted = AbortSignal.abort(new Error('shutting down'));
      await expect(scene.placement.add(all, aborted)).rejects.toThrow('shutting down');
      expect(await found(scene)).toEqual([]);
    });

    test('the watch notifies at its start, because earlier changes are unknown, and when an address was removed', async () => {
      await using scene = await makeScene();
      const { network, placement } = scene;
      await placement.add(all, signal);
      const stop = new AbortController();
      let told = 0;
      const running = network.watch(() => told++, stop.signal);
      await expect.poll(() => told, patience).toBe(1);
      await scene.takeAway(routed);
      await expect.poll(() => told, patience).toBe(2);
      stop.abort();
      await expect(running).resolves.toBeUndefined();
    });

    test('neighbours resolve the addresses of a LAN on its link, and no others', async () => {
      await using scene = await makeScene();
      await scene.network.refresh(signal);
      const linked = [...all.values()].filter((address) => scene.links.linkOf(address) !== undefined);
      expect(textsOf(linked)).toEqual([lan, lan6].toSorted());
      expect(linked.map((address) => scene.links.linkOf(address)?.mac)).toEqual(linked.map(() => mac));
    });

    test('neighbours may not know the addresses that an audit has restored, until the subscription ends', async () => {
      await using scene = await makeScene();
      const { links, placement } = scene;
      const told: (readonly string[])[] = [];
      const end = links.onStaleNeighbours((addresses) => void told.push(textsOf(addresses)));
      await placement.add(all, signal);
      await placement.audit(all, signal);
      expect(told).toEqual([]);
      await scene.takeAway(routed);
      await placement.audit(all, signal);
      expect(told).toEqual([[routed]]);
      end();
      await scene.takeAway(routed);
      await placement.audit(all, signal);
      expect(told).toEqual([[routed]]);
    });

    test('neighbours may not know the added addresses on a link that came up: no own and no routed ones', async () => {
      await using scene = await makeScene();
      const { links, network, placement } = scene;
      await scene.giveOwn('10.10.0.77');
      await placement.add(addressesOf(lan, routed), signal);
      const told: (readonly string[])[] = [];
      links.onStaleNeighbours((addresses) => void told.push(textsOf(addresses)));
      const stop = new AbortController();
      let changes = 0;
      const running = network.watch(() => changes++, stop.signal);
      await expect.poll(() => changes, patience).toBe(1);
      await placement.audit(addressesOf(lan, routed), signal);
      expect(told).toEqual([]);
      await scene.flapLink();
      await vi.waitUntil(async () => {
        await placement.audit(addressesOf(lan, routed), signal);
        return told.length > 0;
      }, patience);
      expect(told).toEqual([[lan]]);
      stop.abort();
      await running;
    });
  });
}
