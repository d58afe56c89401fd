import { afterAll, beforeAll, expect, test } from 'vitest';
import { addressesOf } from '../../test/make/table.ts';
import { patience } from '../../test/netns/patience.ts';
import { allAddresses, type PlacementRig, startPlacementRig } from '../../test/netns/placement-rig.ts';

const { signal } = new AbortController();
let rig: PlacementRig;
let mac: string;

beforeAll(async () => {
  rig = await startPlacementRig();
  await rig.network.refresh(signal);
  for (const cidr of ['10.10.0.77/24', 'fd10::77/64'])
    await rig.lab.client.exec('ip', 'address', 'add', cidr, 'dev', 'eth0', ...(cidr.includes(':') ? ['nodad'] : []));
  const [link] = JSON.parse(await rig.lab.client.exec('ip', '-json', 'link', 'show', 'dev', 'eth0')) as {
    address: string;
  }[];
  mac = link?.address ?? '';
});
afterAll(() => rig[Symbol.asyncDispose]());

const texts = ['10.10.0.77', 'fd10::77'];

test('a probe finds the machine that has an address, in both families, and none for the others', async () => {
  const wanted = addressesOf(...texts, '10.10.0.78', 'fd10::78', '10.50.0.1');
  // A link that has just come up loses frames.
  await expect
    .poll(() => rig.probe([...wanted.values()], signal), patience)
    .toEqual(new Map(texts.map((text) => [text, mac])));
});

test('a probe changes nothing in the neighbours’ tables', async () => {
  await rig.pretendElsewhere('10.10.0.1');
  await rig.probe([...addressesOf('10.10.0.77').values()], signal);
  expect(await rig.neighbour('10.10.0.1')).toBe('02:00:00:00:00:99');
  await rig.lab.client.exec('ip', 'neighbour', 'delete', '10.10.0.1', 'dev', 'eth0');
});

test('ten thousand addresses are probed at once', async () => {
  const many = Array.from({ length: 10_000 }, (_, index) => `10.10.${100 + (index >> 8)}.${index & 255}`);
  await rig.lab.balancer.exec('ip', 'address', 'add', '10.10.200.1/16', 'dev', 'wan');
  await rig.network.refresh(signal);
  const found = await rig.probe([...addressesOf(...many, ...texts).values()], signal);
  expect([...found.keys()].toSorted()).toEqual(texts);
});

test('an address that another machine also has is announced and logged', async () => {
  const wanted = allAddresses.with(addressesOf(...texts));
  await rig.add(wanted);
  const said = (): unknown => rig.warnings.toSorted((x, y) => JSON.stringify(x).localeCompare(JSON.stringify(y)));
  await expect.poll(said, patience).toEqual(texts.map((address) => ({ address, mac })));
});
