import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { dns, type NatRig, startNatRig } from '../../../test/netns/nat-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import { serviceKey } from '../../core/model/names.ts';
import type { Listener } from '../../core/traffic/table.ts';

/*
 * A client keeps its node, on a real kernel.
 */
const vips = ['10.50.0.9', 'fd50::9'] as const;
const all = ['n1', 'n2', 'n3'];
let rig: NatRig;

beforeAll(async () => {
  rig = await startNatRig();
});
afterAll(() => rig?.[Symbol.asyncDispose]());
beforeEach(async () => {
  rig.drained.clear();
  rig.excluded.clear();
  await rig.apply();
});
afterEach(async () => {
  for (const { name } of rig.lab.nodes) rig.setSilent(name, undefined);
});

const affine = (vip: string, more: Partial<Listener> = {}): Listener =>
  dns(vip, { isAffine: true, affinitySeconds: 10_800, ...more });
/** The nodes of ten new flows. */
const nodesOf = async (vip: string): Promise<readonly string[]> => [...new Set((await rig.newFlows(vip, 10)).values())];
/** Only these nodes are in use from now on. */
const use = (...names: readonly string[]): void => {
  rig.excluded.clear();
  for (const name of all) if (!names.includes(name)) rig.excluded.add(name);
};

describe.each(vips)('a client of %s', (vip) => {
  test('keeps its node while others join, and while its own drains', async () => {
    for (const name of all) {
      await rig.apply();
      use(name);
      await rig.apply(affine(vip));
      expect(await nodesOf(vip)).toEqual([name]);
      use(...all);
      await rig.apply(affine(vip));
      expect(await nodesOf(vip)).toEqual([name]);
      rig.drained.add(name);
      await rig.apply(affine(vip));
      expect(await nodesOf(vip)).toEqual([name]);
      rig.drained.clear();
    }
  });

  test('has one node for TCP and UDP from the beginning', async () => {
    await rig.apply(affine(vip), affine(vip, { protocol: 'TCP' }));
    const [name = ''] = await nodesOf(vip);
    for (let turn = 0; turn < 10; turn++) {
      const { id = 0 } = await rig.lab.client.ask({ do: 'dial', address: vip, port: 53 });
      const text = await vi.waitUntil(async () => (await rig.lab.client.ask({ do: 'heard', id })).text, patience);
      expect(text.slice(0, 2)).toBe(name);
    }
  });

  test('of a node that is gone, or silent, gets another one and keeps that', async () => {
    await rig.apply(affine(vip));
    const [first = ''] = await nodesOf(vip);
    use(...all.filter((name) => name !== first));
    await rig.apply(affine(vip));
    const [second = '', ...others] = await nodesOf(vip);
    expect([second === first, others]).toEqual([false, []]);
    use(...all);
    await rig.apply(affine(vip));
    expect(await nodesOf(vip)).toEqual([second]);
    rig.setSilent(second, 0);
    await rig.apply(affine(vip));
    const [third] = await nodesOf(vip);
    expect(third).not.toBe(second);
    rig.setSilent(second, undefined);
    await rig.apply(affine(vip));
    expect(await nodesOf(vip)).toEqual([third]);
  });

  test('is not kept by the next Service on the listener', async () => {
    const next = affine(vip, { service: serviceKey('test', 'next') });
    await rig.apply(next);
    const [chosen = ''] = await nodesOf(vip);
    await rig.apply();
    use(...all.filter((name) => name !== chosen).slice(0, 1));
    await rig.apply(affine(vip));
    expect(await nodesOf(vip)).not.toEqual([chosen]);
    use(...all);
    await rig.apply();
    await rig.apply(next);
    expect(await nodesOf(vip)).toEqual([chosen]);
  });

  test('is kept over a restart of furiwake', async () => {
    for (const name of all) {
      const lasting = affine(vip, { service: serviceKey('test', `served-by-${name}`) });
      await rig.apply();
      use(name);
      await rig.apply(lasting);
      expect(await nodesOf(vip)).toEqual([name]);
      use(...all);
      await rig.apply(lasting);
      await rig.stop();
      await rig.start();
      await rig.apply(lasting);
      expect(await nodesOf(vip)).toEqual([name]);
    }
  });

  test('is kept for the timeout of its Service after its last flow began', async () => {
    const family = vip.includes(':') ? 6 : 4;
    const timeoutOf = async (): Promise<string | undefined> => {
      const args = ['nft', 'list', 'map', 'inet', 'furiwake-nat', `clients${family}`] as const;
      return / timeout (\S+) expires /.exec(await rig.lab.balancer.exec(...args))?.[1];
    };
    const service = serviceKey('test', 'timed');
    for (const [affinitySeconds, timeout] of [
      [600, '10m'],
      [601, '15m'],
      [86_400, '1d'],
      [30, '30s'],
    ] as const) {
      await rig.apply(affine(vip, { service, affinitySeconds }));
      await rig.lab.balancer.nft(`flush map inet furiwake-nat clients${family}`);
      await nodesOf(vip);
      expect(await timeoutOf()).toBe(timeout);
      expect(await rig.nat().audit(new AbortController().signal)).toBe(0);
    }
  });

  test('is kept over another change of the table', async () => {
    use('n1');
    await rig.apply(affine(vip));
    expect(await nodesOf(vip)).toEqual(['n1']);
    use(...all);
    await rig.apply(affine(vip), dns('10.50.0.1'));
    expect(await rig.nat().audit(new AbortController().signal)).toBe(0);
    expect(await nodesOf(vip)).toEqual(['n1']);
    expect(new Set((await rig.newFlows('10.50.0.1', 20)).values()).size).toBeGreaterThan(1);
  });
});
