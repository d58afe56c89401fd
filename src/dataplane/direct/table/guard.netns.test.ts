import { expect, test } from 'vitest';
import { lab, limits, vips } from '../../../../test/netns/direct-rig.ts';
import { patience } from '../../../../test/netns/patience.ts';

/** The watch has seen a transaction of furiwake, so it follows the table. */
async function untilWatched(): Promise<void> {
  const { balancer } = lab;
  await balancer.nft('add chain netdev furiwake foreign');
  await expect.poll(() => balancer.exec('nft', 'list', 'chains', 'netdev'), patience).not.toContain('foreign');
}

test.each(vips)('while a deleted table is written again, a connection to %s is not reset', async (vip) => {
  const { balancer, client, nodes } = lab;
  const heard = async (id: number): Promise<string> => {
    const { text = '', end } = await client.ask({ do: 'heard', id });
    return end === 'open' ? text : `ended: ${end}`;
  };
  await untilWatched();
  const { id = 0 } = await client.ask({ do: 'dial', address: vip, port: 53 });
  await client.ask({ do: 'say', id, text: 'before ' });
  await expect.poll(() => heard(id), patience).toMatch(/before $/);
  // The client has acknowledged the answer: it sends nothing by itself before the guard is there.
  const unacknowledged = (): Promise<readonly string[]> =>
    Promise.all(nodes.map((node) => node.exec('ss', '-Htin', 'state', 'established')));
  await expect.poll(async () => (await unacknowledged()).join(), patience).not.toContain('unacked');
  const written = Promise.withResolvers<void>();
  limits.isWritable = written.promise;
  try {
    await balancer.nft('delete table netdev furiwake');
    await expect.poll(() => balancer.exec('nft', 'list', 'sets', 'netdev'), patience).toContain('guarded4');
    await client.ask({ do: 'say', id, text: 'meanwhile ' });
    const destination = vip.includes(':') ? `[${vip}]` : vip;
    await expect.poll(() => client.exec('ss', '-Htin', 'dst', destination), patience).toMatch(/ retrans:[1-9]/);
  } finally {
    written.resolve();
  }
  await expect.poll(() => heard(id), patience).toMatch(/before meanwhile $/);
  await expect.poll(() => balancer.exec('nft', 'list', 'sets', 'netdev'), patience).not.toContain('guarded4');
});
