import { beforeAll, expect, test } from 'vitest';
import { listener } from '../../../../test/make/table.ts';
import { serveVips } from '../../../../test/netns/direct-lab.ts';
import { patience } from '../../../../test/netns/patience.ts';
import {
  connect,
  direct,
  expectAlive,
  heard,
  heldByHaproxy,
  lab,
  nodes,
  port,
  program,
} from '../../../../test/netns/stand-in-rig.ts';

const { signal } = new AbortController();

// No listener of the first table of a process waits.
beforeAll(() => program(listener('203.0.113.99', port, port)));

test('a new listener drops packets until its first node opens, so that no client reaches it by HAProxy', async () => {
  const address = '203.0.113.23';
  nodes.areOpen = false;
  for (const node of lab.nodes) await serveVips(node, [address], port);
  await program(listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: false }));
  const connecting = connect(address);
  await expect.poll(() => lab.client.exec('ss', '-Htn', 'state', 'syn-sent', 'dst', address), patience).not.toBe('');
  nodes.areOpen = true;
  await direct.audit(signal);
  const id = await connecting; // the client repeated its SYN
  await expectAlive([id]);
  expect(await heldByHaproxy(listener(address, port, port))).toBe(0);
});

test.each(['203.0.113.24', '2001:db8:f::24'])(
  'if furiwake is killed while a new listener on %s waits for its first node, the kernel leaves it to HAProxy after six seconds',
  async (address) => {
    const onDirect = listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: false });
    nodes.areOpen = false;
    const startedMs = performance.now();
    await program(onDirect); // and nothing else: only this test calls the adapter
    const { id = 0 } = await lab.client.ask({ do: 'dial', address, port });
    await expect.poll(async () => (await heard(id)).text, patience).toMatch(/^n\d /);
    expect(performance.now() - startedMs).toBeGreaterThan(5_000);
    expect(await heldByHaproxy(onDirect)).toBe(1);
    // The next change does not fail because the kernel has removed an element of this one.
    for (const node of lab.nodes) await serveVips(node, [address], port);
    nodes.areOpen = true;
    await program(onDirect);
    expect(await direct.audit(signal)).toBe(0);
    expect(direct.isForwarding(onDirect.key)).toBe(true);
    await expectAlive([id, await connect(address)]);
    expect(await heldByHaproxy(onDirect)).toBe(1);
  },
);
