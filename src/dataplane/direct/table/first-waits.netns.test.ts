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
  startDirect,
} from '../../../../test/netns/stand-in-rig.ts';

const { signal } = new AbortController();

// The tests of new listeners need a table of this process that has none of them.
beforeAll(() => program(listener('203.0.113.99', port, port)));

test('a new listener drops packets until its first node opens, so that no client reaches it by HAProxy', async () => {
  const address = '203.0.113.23';
  nodes.areOpen = false;
  for (const node of lab.nodes) await serveVips(node, [address], port);
  await program(listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true }));
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
    const onDirect = listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
    nodes.areOpen = false;
    const startedMs = performance.now();
    await program(onDirect); // and nothing else: only this test calls the adapter
    const { id = 0 } = await lab.client.ask({ do: 'dial', address, port });
    await expect.poll(async () => (await heard(id)).text, { timeout: 20_000, interval: 50 }).toMatch(/^n\d /);
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
  40_000,
);

/** The table goes, as if the next process were on another host. Until a client sends something, nothing is reset. */
async function takeOver(more: Parameters<typeof startDirect>[0] = {}): Promise<void> {
  await lab.balancer.exec('nft', 'delete', 'table', 'netdev', 'furiwake');
  startDirect(more);
}

test.each(['203.0.113.25', '2001:db8:f::25'])(
  'a host that takes over drops packets of connections at nodes of %s, until it knows the nodes and sorted the flows',
  async (address) => {
    const onDirect = listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
    for (const node of lab.nodes) await serveVips(node, [address], port);
    nodes.areOpen = true;
    await program(onDirect);
    const atNodes = await Promise.all(Array.from({ length: 4 }, () => connect(address)));
    const [sorting, sorted] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    nodes.areOpen = false;
    const clientsOf = async (): Promise<ReadonlyMap<never, never>> => {
      if (nodes.areOpen) sorting.resolve();
      if (nodes.areOpen) await sorted.promise;
      return new Map<never, never>();
    };
    await takeOver({ host: { clientsOf } });
    await program(onDirect);
    const established = (): Promise<string> =>
      lab.client.exec('ss', '-HtniO', 'state', 'established', 'dst', address.includes(':') ? `[${address}]` : address);
    const isResent = async (): Promise<boolean> => / retrans:/.test(await established());
    const first = expectAlive(atNodes.slice(0, 2));
    await expect.poll(isResent, patience).toBe(true);
    nodes.areOpen = true;
    const opening = direct.audit(signal);
    await Promise.race([sorting.promise, opening]);
    const second = expectAlive(atNodes.slice(2));
    const stayed = await established();
    sorted.resolve();
    await opening;
    await Promise.all([first, second]);
    expect(stayed.trim().split('\n')).toHaveLength(4);
    expect(await heldByHaproxy(onDirect)).toBe(0);
  },
  30_000,
);

test('a listener of which HAProxy holds a connection does not wait in the first table of a process', async () => {
  const address = '203.0.113.26';
  const onDirect = listener(address, port, port, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
  nodes.areOpen = false;
  await program(listener(address, port, port));
  const atHaproxy = await connect(address);
  startDirect();
  await program(onDirect);
  expect(await lab.balancer.exec('nft', 'list', 'set', 'netdev', 'furiwake', 'waiting')).not.toContain('elements');
  await expectAlive([atHaproxy, await connect(address)]);
});
