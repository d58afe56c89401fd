import { expect, test } from 'vitest';
import { localListener, natListener } from '../../../test/make/table.ts';
import { serveVips } from '../../../test/netns/direct-lab.ts';
import { direct, lab, nodes, port, program } from '../../../test/netns/stand-in-rig.ts';

test('a UDP flow leaves a node whose last endpoint is gone, also while nat has new flows of the listener', async () => {
  const address = '203.0.113.38';
  const { backend } = localListener(address, port, port);
  const more = { dataplane: 'direct', standIn: 'nat', isPublished: true, backend } as const;
  const onDirect = natListener(address, port, port, more);
  const nodeOf = async (localPort: number): Promise<string | undefined> =>
    (await lab.client.ask({ do: 'askUdp', address, port, localPort, timeoutMs: 2_000 })).text;
  for (const node of lab.nodes) {
    await node.ask({ do: 'serveUdp', port, body: node.name });
    await serveVips(node, [address], port);
  }
  nodes.areOpen = true;
  await program(onDirect, { weights: { n1: 1, n2: 1 } });
  const first = await nodeOf(20_001);
  const [name = ''] = first?.split(' ') ?? [];
  expect(first).toBe(`${name} 198.51.100.2 20001`);
  for (let count = 0; count < 3; count++) expect(await nodeOf(20_001)).toBe(first);
  nodes.areOpen = false;
  await direct.audit(new AbortController().signal);
  expect(await nodeOf(20_002)).toMatch(/ 192\.0\.2\.2 /);
  expect(await nodeOf(20_001)).toBe(first);
  const other = name === 'n1' ? 'n2' : 'n1';
  await program(onDirect, { weights: { [other]: 1 } });
  expect(await nodeOf(20_001)).toMatch(new RegExp(`^${other} 192\\.0\\.2\\.2 `));
});
