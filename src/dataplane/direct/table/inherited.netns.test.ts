import { expect, test } from 'vitest';
import { listener } from '../../../../test/make/table.ts';
import { sceneGate } from '../../../../test/make/scene-gate.ts';
import { serveVips } from '../../../../test/netns/direct-lab.ts';
import { patience } from '../../../../test/netns/patience.ts';
import type { ServiceUid } from '../../../core/model/names.ts';
import { closed } from '../../../agent/withdrawn.ts';
import { systemClock } from '../../../main/node/clock.ts';
import {
  connect,
  direct,
  expectAlive,
  heard,
  heldByHaproxy,
  host,
  lab,
  nodes,
  port,
  program,
  startDirect,
} from '../../../../test/netns/stand-in-rig.ts';

const { signal } = new AbortController();
/** So many that the hash certainly sends some to each of two nodes. */
const clients = 20;
const more = { dataplane: 'direct', standIn: 'haproxy', isPublished: true } as const;

/** The table goes, as if the next process were on another host. Until a client sends something, nothing is reset. */
async function takeOver(open: ReadonlySet<string>, parts: Parameters<typeof startDirect>[0] = {}): Promise<void> {
  await lab.balancer.exec('nft', 'table netdev furiwake; delete table netdev furiwake');
  const gate = sceneGate({ isOpen: (_, node) => open.has(node), subscribe: () => () => undefined });
  startDirect({ gate, ...parts });
}

test.each([
  ['203.0.113.25', false, 'of which it knew nothing', undefined],
  ['2001:db8:f::25', false, 'of which it knew nothing', undefined],
  ['203.0.113.27', true, 'of which it knew nothing', undefined],
  ['203.0.113.29', false, 'that moved to direct meanwhile', listener('203.0.113.29', port, port)],
  [
    '203.0.113.31',
    false,
    'that was made again',
    listener('203.0.113.31', port, port, { ...more, uid: 'former' as ServiceUid }),
  ],
  ['203.0.113.32', false, 'that got another port', listener('203.0.113.32', port + 1, port, more)],
] as const)(
  'a host that takes over keeps the connections that nodes have of %s (affinity: %s), of a Service %s, and HAProxy those that open meanwhile',
  async (address, isAffine, _, former) => {
    const onDirect = listener(address, port, port, { ...more, isAffine });
    for (const node of lab.nodes) await serveVips(node, [address], port);
    nodes.areOpen = true;
    await program(onDirect);
    const atNodes = await Promise.all(Array.from({ length: clients }, () => connect(address)));
    const texts = await Promise.all(atNodes.map(async (id) => (await heard(id)).text?.slice(0, 2)));
    expect(new Set(texts).size).toBe(isAffine ? 1 : 2);
    const open = new Set<string>();
    await takeOver(open);
    // A host that waits has the table of its last time.
    if (former !== undefined) await program(closed(former));
    // A pass removes the listener of the Service of before first.
    if (former !== undefined && former.uid !== onDirect.uid) await program(listener('203.0.113.33', port, port, more));
    await program(onDirect);
    const established = (): Promise<string> =>
      lab.client.exec('ss', '-HtniO', 'state', 'established', 'dst', address.includes(':') ? `[${address}]` : address);
    const alive = expectAlive(atNodes);
    await expect.poll(async () => (await established()).match(/ retrans:/g)?.length, patience).toBe(clients);
    const atHaproxy = await connect(address);
    open.add('n1');
    await direct.audit(signal);
    expect(direct.isForwarding(onDirect.key)).toBe(false); // connections at n2 would get there, too
    open.add('n2');
    await direct.audit(signal);
    expect(direct.isForwarding(onDirect.key)).toBe(true);
    await alive;
    await expectAlive([...atNodes, atHaproxy]);
    expect(await heldByHaproxy(onDirect)).toBe(1);
  },
);

test('a connection that HAProxy gets after eight seconds without nodes continues when they open', async () => {
  const onDirect = listener('203.0.113.28', port, port, more);
  for (const node of lab.nodes) await serveVips(node, ['203.0.113.28'], port);
  const open = new Set<string>();
  let aheadMs = 0;
  let between = async (): Promise<void> => undefined;
  await takeOver(open, {
    clock: { ...systemClock, monotonic: () => systemClock.monotonic() + aheadMs },
    host: {
      clientsOf: async (...args) => {
        await between();
        return await host.clientsOf(...args);
      },
    },
  });
  await program(onDirect);
  aheadMs = 8_000;
  await direct.audit(signal);
  const atHaproxy = await connect('203.0.113.28');
  for (const { name } of lab.nodes) open.add(name);
  let answers = 0;
  // New connections go to nodes, and HAProxy's are not known yet.
  between = async () => {
    await expectAlive([atHaproxy]);
    answers++;
  };
  await direct.audit(signal);
  expect([direct.isForwarding(onDirect.key), answers]).toEqual([true, 1]);
  await expectAlive([atHaproxy]);
  expect(await heldByHaproxy(onDirect)).toBe(1);
});

test('connections that HAProxy has when a process starts without a table continue', async () => {
  const onDirect = listener('203.0.113.26', port, port, more);
  nodes.areOpen = false;
  await program(listener('203.0.113.26', port, port));
  const atHaproxy = await connect('203.0.113.26');
  startDirect();
  await program(onDirect);
  expect(await lab.balancer.exec('nft', 'list', 'set', 'netdev', 'furiwake', 'inherited')).not.toContain('elements');
  await expectAlive([atHaproxy, await connect('203.0.113.26')]);
  expect(await heldByHaproxy(onDirect)).toBe(2);
});
