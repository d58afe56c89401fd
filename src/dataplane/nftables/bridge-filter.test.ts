import { expect, test } from 'vitest';
import { makeBridgeFilter } from './bridge-filter.ts';

const settings = '/proc/sys/net/bridge';
const bridge = '/sys/class/net/br0/bridge';

test('needs the module and a bridge; the hooks stay when the last bridge goes, until the module goes', async () => {
  const paths = new Set<string>();
  let isBroken = false;
  const isFiltered = makeBridgeFilter({
    exists: async (path) => {
      if (isBroken) throw new Error('EMFILE');
      return paths.has(path);
    },
    list: async () => ['bonding_masters', 'br0', 'lo'],
  });
  const after = async (change: () => void): Promise<boolean> => {
    change();
    return await isFiltered();
  };
  expect(await isFiltered()).toBe(false);
  expect(await after(() => paths.add(bridge))).toBe(false);
  expect(await after(() => paths.add(settings))).toBe(true);
  expect(await after(() => paths.delete(bridge))).toBe(true);
  expect(await after(() => (isBroken = true))).toBe(true);
  isBroken = false;
  expect(await after(() => paths.delete(settings))).toBe(false);
  expect(await after(() => paths.add(settings))).toBe(false);
});
