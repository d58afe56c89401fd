import { afterAll, expect, test } from 'vitest';
import { listener, nodeName } from '../../../test/make/table.ts';
import { serveVips } from '../../../test/netns/direct-lab.ts';
import { patience } from '../../../test/netns/patience.ts';
import {
  connect,
  direct,
  expectAlive,
  heldByHaproxy,
  lab,
  lanVip,
  nodes,
  port,
  program,
  startProbing,
} from '../../../test/netns/stand-in-rig.ts';

/*
 * A node whose MTU is smaller than that of the LAN would lose large packets of clients, of which nothing is reported to them.
 */
const stop = new AbortController();
let running: Promise<void> | undefined;
afterAll(async () => {
  stop.abort();
  await running;
});

test('a node with MTU 1400 gets no packets of direct, the others do; without others HAProxy stands in', async () => {
  nodes.areOpen = true;
  const [n1, n2] = lab.nodes;
  const automatic = listener(lanVip, port, port, {
    dataplane: 'direct',
    standIn: 'haproxy',
    isPublished: true,
    needsProof: true,
  });
  for (const node of lab.nodes) await serveVips(node, [lanVip], port);
  await n1?.exec('ip', 'link', 'set', 'eth0', 'mtu', '1400');
  await startProbing();
  await program(automatic);
  running = direct.run(stop.signal);
  const obstacle = (name: string): unknown => direct.obstacles().get(nodeName(name))?.[4];
  const small = { least: 1_396, most: 1_403, lan: 1_500 };
  await expect.poll(() => obstacle('n1'), patience).toEqual(small);
  await expect.poll(() => direct.isForwarding(automatic.key), patience).toBe(true);
  const atNode = await Promise.all(Array.from({ length: 8 }, () => connect(lanVip)));
  const greetings = await Promise.all(atNode.map(async (id) => (await lab.client.ask({ do: 'heard', id })).text));
  expect(new Set(greetings.map((text) => text?.split(' ')[0]))).toEqual(new Set(['n2']));
  expect(await heldByHaproxy(automatic)).toBe(0);

  // The node is probed again, for instance by the next process.
  await n2?.exec('ip', 'link', 'set', 'eth0', 'mtu', '1400');
  stop.abort();
  await running;
  running = undefined;
  await startProbing();
  await program(automatic);
  const again = new AbortController();
  const inNext = direct.run(again.signal);
  await expect.poll(() => obstacle('n2'), patience).toEqual(small);
  expect(direct.isForwarding(automatic.key)).toBe(false);
  const atHaproxy = await connect(lanVip);
  expect(await heldByHaproxy(automatic)).toBe(1);
  await expectAlive([...atNode, atHaproxy]); // a connection has agreed on the size of its packets
  again.abort();
  await inNext;
});
