import { expect, test } from 'vitest';
import { listener, natListener } from '../../../test/make/table.ts';
import { serveVips } from '../../../test/netns/direct-lab.ts';
import { patience } from '../../../test/netns/patience.ts';
import {
  connect,
  direct,
  expectAlive,
  heldByHaproxy,
  lab,
  nat,
  nodes,
  port,
  program,
  underClients,
} from '../../../test/netns/stand-in-rig.ts';

const { signal } = new AbortController();

test.each(['203.0.113.40', '2001:db8:f::40'])(
  'when HAProxy or direct gets a listener of nat on %s, no connection fails, and those of nat stay there',
  async (address) => {
    const onNat = natListener(address, port, port, { protocol: 'TCP' });
    const onHaproxy = listener(address, port, port);
    const onDirect = listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
    for (const node of lab.nodes) await serveVips(node, [address], port);
    nodes.areOpen = true;
    await program(onNat);
    const long = [await connect(address), await connect(address), await connect(address)];
    const last = async (): Promise<void> => {
      for (let count = 0; count < 5; count++) await expectAlive(long);
    };
    const { opened, failed } = await underClients(address, async () => {
      await program(onHaproxy);
      await last();
      await nat.audit(signal);
      await last();
      long.push(await connect(address));
      expect(await heldByHaproxy(onHaproxy)).toBeGreaterThanOrEqual(1);
      await program(onDirect);
      await direct.audit(signal);
      await last();
      long.push(await connect(address));
      await program(onNat);
      await last();
      await program(onDirect);
      await direct.audit(signal);
      await last();
      await program(onHaproxy);
      await last();
    });
    expect(failed).toEqual([]);
    expect(opened).toBeGreaterThan(10);
  },
);

test('the table of nat goes when the last of these connections has ended', async () => {
  const address = '203.0.113.41';
  const onHaproxy = listener(address, port, port);
  const hasTable = async (): Promise<boolean> =>
    (await lab.balancer.exec('nft', 'list', 'tables')).includes('inet furiwake-nat');
  await program(natListener(address, port, port, { protocol: 'TCP' }));
  const id = await connect(address);
  await program(onHaproxy);
  await nat.audit(signal);
  await expectAlive([id]);
  expect(await hasTable()).toBe(true);
  await lab.balancer.exec('conntrack', '-D', '-p', 'tcp', '--orig-dst', address);
  await nat.audit(signal);
  expect(await hasTable()).toBe(false);
});

test('connections of nat end when another Service gets the listener', async () => {
  const address = '203.0.113.42';
  await program(natListener(address, port, port, { protocol: 'TCP' }));
  const id = await connect(address);
  await program(listener(address, port, port, { uid: 'another' as never }));
  await lab.client.ask({ do: 'say', id, text: 'word' });
  await expect.poll(async () => (await lab.client.ask({ do: 'heard', id })).end, patience).not.toBe('open');
});
