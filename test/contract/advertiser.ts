import { describe, expect, test } from 'vitest';
import type { Advertiser, DuplicateProbe } from '../../src/ports/advertiser.ts';
import { addressesOf } from '../make/table.ts';
import { patience } from '../netns/patience.ts';

/** An advertiser that runs and has no address yet. It stops when the scene is disposed of. */
export type AdvertiserScene = AsyncDisposable & {
  readonly advertiser: Advertiser;
  readonly duplicateProbe: DuplicateProbe;
  /** A neighbour sends packets for the address to another machine, from now on. */
  sendElsewhere(address: string): Promise<void>;
  /** Whether it sends them here. */
  sendsHere(address: string): Promise<boolean>;
  /** Another machine on the LAN gets the address, or gives it up. Resolves with its MAC. */
  setDuplicate(address: string, isUsed: boolean): Promise<string>;
};

const texts = ['10.10.0.50', 'fd10::50'] as const;
const [four] = texts;
const none = addressesOf();

/** The contract of every implementation of the port. */
export function advertiserContract(name: string, makeScene: () => Promise<AdvertiserScene>): void {
  describe(`advertiser contract: ${name}`, () => {
    test('neighbours send packets for new addresses here, and for those that return', async () => {
      await using scene = await makeScene();
      const { advertiser } = scene;
      const sent = (): Promise<readonly boolean[]> => Promise.all(texts.map((text) => scene.sendsHere(text)));
      for (let time = 0; time < 2; time++) {
        const elsewhere = async (): Promise<readonly boolean[]> => {
          for (const text of texts) await scene.sendElsewhere(text);
          return await sent();
        };
        await expect.poll(elsewhere, patience).toEqual([false, false]); // the last packet of the former time may still come
        advertiser.advertise(addressesOf(...texts));
        await expect.poll(sent, patience).toEqual([true, true]);
        advertiser.advertise(none);
      }
    });

    test('another machine with an advertised address is reported while it has it, and no other one', async () => {
      await using scene = await makeScene();
      const { advertiser } = scene;
      const told: unknown[] = [];
      const end = advertiser.onDuplicates((duplicates) => void told.push([...duplicates]));
      const mac = await scene.setDuplicate(four, true);
      expect(told).toEqual([]);
      advertiser.advertise(addressesOf(...texts));
      await expect.poll(() => told, patience).toEqual([[[four, mac]]]);
      await scene.setDuplicate(four, false);
      await expect.poll(() => told, patience).toEqual([[[four, mac]], []]); // after the next announcement
      end();
      await scene.setDuplicate(four, true);
      advertiser.advertise(none);
      advertiser.advertise(addressesOf(four));
      expect(told).toHaveLength(2);
    });

    test('a probe finds another machine that has an address, advertised here or not, and no other address', async () => {
      await using scene = await makeScene();
      const { signal } = new AbortController();
      const probe = (): Promise<unknown> => scene.duplicateProbe([...addressesOf(...texts).values()], signal);
      expect(await probe()).toEqual(new Map());
      const mac = await scene.setDuplicate(four, true);
      expect(await probe()).toEqual(new Map([[four, mac]]));
      scene.advertiser.advertise(addressesOf(...texts));
      expect(await probe()).toEqual(new Map([[four, mac]]));
      await scene.setDuplicate(four, false);
      expect(await probe()).toEqual(new Map());
    });

    test('an address that is no longer advertised has no duplicate', async () => {
      await using scene = await makeScene();
      const { advertiser } = scene;
      const told: unknown[] = [];
      advertiser.onDuplicates((duplicates) => void told.push([...duplicates]));
      const mac = await scene.setDuplicate(four, true);
      advertiser.advertise(addressesOf(four));
      await expect.poll(() => told, patience).toEqual([[[four, mac]]]);
      advertiser.advertise(none);
      expect(told).toEqual([[[four, mac]], []]);
    });
  });
}
