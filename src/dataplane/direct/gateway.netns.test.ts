import { afterAll, beforeAll, expect, test } from 'vitest';
import { listener, nodeName } from '../../../test/make/table.ts';
import { serveVips, setGateway } from '../../../test/netns/direct-lab.ts';
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
 * A site whose load-balancer host is the gateway of the nodes: their answers to clients outside the LAN return to the host. The
 * kernel drops those of IPv4, because their source is an address of its own, and a usual firewall those of IPv6, because it has
 * not seen the client's packets.
 */
const stop = new AbortController();
let running: Promise<void>;

beforeAll(async () => {
  nodes.areOpen = true;
  await lab.balancer.exec('ip', 'address', 'add', '2001:db8:f::52/128', 'dev', 'furiwake0', 'nodad');
  await lab.balancer.nft(`table inet firewall {
  chain forward { type filter hook forward priority 0; ct state invalid drop; }
}`);
  await setGateway(lab, 'balancer');
  await startProbing();
});
afterAll(async () => {
  stop.abort();
  await running;
});

test.each([lanVip, '2001:db8:f::52'])(
  'there HAProxy stands in for direct, which is used when the nodes get another gateway: %s',
  async (address) => {
    const more = { dataplane: 'direct', standIn: 'haproxy', isPublished: true } as const;
    const requested = listener(address, port, port, more);
    const automatic = listener(address, port, port, { ...more, needsProof: true });
    const family = address === lanVip ? 4 : 6;
    for (const node of lab.nodes) await serveVips(node, [address], port);
    await setGateway(lab, 'balancer');
    await program(automatic);
    running ??= direct.run(stop.signal);
    await expect.poll(() => direct.obstacles().get(nodeName('n1'))?.[family], patience).toBe('crossing');
    expect(direct.isForwarding(automatic.key)).toBe(false);
    const atHaproxy = await connect(address);
    expect(await heldByHaproxy(automatic)).toBe(1);
    await setGateway(lab, 'router');
    await expect.poll(() => direct.isForwarding(automatic.key), patience).toBe(true);
    const atNode = await connect(address);
    await expectAlive([atHaproxy, atNode]);
    expect(await heldByHaproxy(automatic)).toBe(1);
    await lab.client.ask({ do: 'hangUp', id: atHaproxy });
    await expect.poll(() => heldByHaproxy(automatic), patience).toBe(0);
    // Without the proof clients outside the LAN get no answer.
    await setGateway(lab, 'balancer');
    await program(requested);
    const { error } = await lab.client.ask({ do: 'fetch', address, port, timeoutMs: 2_000 });
    expect(error).toBe('timeout');
  },
);
