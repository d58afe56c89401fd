import { expect, test } from 'vitest';
import { addressOf, listener } from '../../../test/make/table.ts';
import { serveVips } from '../../../test/netns/direct-lab.ts';
import { sendFrames } from '../../../test/netns/frames.ts';
import { patience } from '../../../test/netns/patience.ts';
import {
  connect,
  expectAlive,
  lab,
  lanVip,
  nodes,
  port,
  program,
  reached,
  startDirect,
} from '../../../test/netns/stand-in-rig.ts';
import { tcpFrame } from './probes/probe-frames.ts';

test('while the flows of a stand-in cannot be read, a new one from an impossible source, or from a node, is sent to no node', async () => {
  const onDirect = listener(lanVip, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
  for (const node of lab.nodes) await serveVips(node, [lanVip], port);
  nodes.areOpen = true;
  startDirect({ host: { clientsOf: async () => Promise.reject(new Error('ss: timed out after 10000 ms')) } });
  await program(onDirect);
  const to = { mac: (await lab.balancer.device('eth0')).mac, address: addressOf(lanVip), port };
  const router = (await lab.router.device('lan')).mac;
  const [node] = lab.nodes;
  const atNode = (await node?.device('eth0'))?.mac ?? '';
  const before = await reached();
  const syn = (mac: string, address: string): string =>
    tcpFrame('syn', { mac, address: addressOf(address), port: 40_000 }, to);
  await sendFrames(lab.router, 'lan', [syn(router, '10.244.1.9'), syn(router, '192.0.2.11')]); // a Pod, a node
  await sendFrames(lab.nodes[0]!, 'eth0', [syn(atNode, '198.51.100.9')]);
  expect(await reached()).toBe(before);
  await sendFrames(lab.router, 'lan', [syn(router, '198.51.100.9')]);
  await expect.poll(reached, patience).toBe(before + 1);
  await expectAlive([await connect(lanVip)]);
});
