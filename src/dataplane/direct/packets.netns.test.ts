import { expect, test } from 'vitest';
import { addressOf } from '../../../test/make/table.ts';
import { serveVips } from '../../../test/netns/direct-lab.ts';
import {
  apply,
  drained,
  expectSame,
  lab,
  newFlows,
  nextPort,
  nodeOf,
  nodesOf,
  vips,
} from '../../../test/netns/direct-rig.ts';
import { sendFrames, tooLargeFrame } from '../../../test/netns/frames.ts';
import { patience } from '../../../test/netns/patience.ts';
import { udpFrame } from './probes/probe-frames.ts';

test.each(vips)('all fragments of a datagram to %s reach the node of its flow', async (vip) => {
  const flows = await newFlows(vip, 20);
  expect(nodesOf(flows)).toEqual(['n1', 'n2', 'n3']);
  for (const [port, node] of flows) expect([port, await nodeOf(vip, port, 5_000)]).toEqual([port, node]);
});

test('a packet that a node routes back by way of the router circles a few times only', async () => {
  await using _restored = {
    [Symbol.asyncDispose]: async () => {
      for (const node of lab.nodes) await serveVips(node, vips, 5300);
    },
  };
  for (const node of lab.nodes) await serveVips(node, [], 5300);
  await lab.router.nft(`table ip count {
  chain forward {
    type filter hook forward priority 0
    ip daddr 203.0.113.10 counter
  }
}`);
  expect(await nodeOf(vips[0], nextPort())).toBe('timeout');
  const listed = await lab.router.exec('nft', 'list', 'table', 'ip', 'count');
  expect(Number(/packets (\d+)/.exec(listed)?.[1])).toBeLessThanOrEqual(6);
  await lab.router.nft('delete table ip count');
});

/** Counts the errors about the path MTU that reach each node, from now on. */
async function countErrors(): Promise<() => Promise<readonly number[]>> {
  for (const node of lab.nodes) {
    for (const family of ['-4', '-6']) await node.exec('ip', family, 'route', 'flush', 'cache'); // the MTU of another test's errors
    await node.nft(`table inet errors
delete table inet errors
table inet errors {
  chain arrive {
    type filter hook prerouting priority raw
    icmp type destination-unreachable counter
    icmpv6 type packet-too-big counter
  }
}`);
  }
  return () =>
    Promise.all(
      lab.nodes.map(async (node) => {
        const listed = await node.exec('nft', 'list', 'table', 'inet', 'errors');
        return [...listed.matchAll(/packets (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
      }),
    );
}

test.each(vips.slice(0, 2))('an ICMP error to %s reaches the node of its flow, and no other', async (vip) => {
  for (const node of lab.nodes) await serveVips(node, vips, 5301);
  await using _restored = {
    [Symbol.asyncDispose]: async () => {
      for (const node of lab.nodes) await serveVips(node, vips, 5300);
      await lab.router.exec('ip', 'link', 'set', 'wan', 'mtu', '1500');
    },
  };
  await lab.router.exec('ip', 'link', 'set', 'wan', 'mtu', '1300'); // the client does not know
  const errorsAt = await countErrors();
  const firsts = new Map<string, readonly string[]>();
  for (let turn = 0; turn < 60 && firsts.size < 3; turn++) {
    const before = await errorsAt();
    const { text = '' } = await lab.client.ask({ do: 'fetch', address: vip, port: 53, timeoutMs: 5_000 });
    expect(text).toHaveLength(2_000_000);
    const name = text.slice(0, 2);
    const reached = (await errorsAt()).flatMap((count, index) => (count > (before[index] ?? 0) ? `n${index + 1}` : []));
    if (!firsts.has(name)) firsts.set(name, reached); // later the node knows the path
  }
  expect([...firsts].toSorted(([a], [b]) => (a < b ? -1 : 1))).toEqual([
    ['n1', ['n1']],
    ['n2', ['n2']],
    ['n3', ['n3']],
  ]);
});

test.each(vips.slice(0, 2))(
  'an ICMP error to %s about a connection reaches its node, also after its client, with affinity, has moved to another one',
  async (vip) => {
    for (const node of lab.nodes) await serveVips(node, vips, 5301);
    await using _restored = {
      [Symbol.asyncDispose]: async () => {
        for (const node of lab.nodes) await serveVips(node, vips, 5300);
        await lab.router.exec('ip', 'link', 'set', 'wan', 'mtu', '1500');
      },
    };
    const open = async (): Promise<number> => {
      const { id, error } = await lab.client.ask({ do: 'dial', address: vip, port: 53 });
      if (id === undefined) throw new Error(error);
      return id;
    };
    /** The node whose whole answer the connection brings. */
    const answerOn = async (id: number): Promise<string | undefined> => {
      await lab.client.ask({ do: 'say', id, text: 'GET / HTTP/1.1\r\nhost: vip\r\nconnection: close\r\n\r\n' });
      const heard = (): Promise<{ readonly text?: string; readonly end?: string }> =>
        lab.client.ask({ do: 'heard', id });
      await expect.poll(async () => (await heard()).end, patience).toBe('ended');
      const [, body = ''] = (await heard()).text?.split('\r\n\r\n') ?? [];
      return /n\d/.exec(body)?.[0];
    };
    await apply({ isAffine: true, weights: { n1: 1 } });
    const old = await open();
    await apply({ isAffine: true, weights: { n2: 1, n3: 1 } });
    expect(['n2', 'n3']).toContain(await answerOn(await open()));
    const errorsAt = await countErrors();
    await lab.router.exec('ip', 'link', 'set', 'wan', 'mtu', '1300'); // the client does not know
    expect(await answerOn(old)).toBe('n1');
    const [atFirst = 0, ...others] = await errorsAt();
    expect(atFirst).toBeGreaterThan(0);
    expect(others).toEqual([0, 0]);
  },
);

/** The nodes that get an ICMP error about the flow of the client from this port. */
async function nodesTold(vip: string, port: number): Promise<readonly string[]> {
  const isV4 = vip === vips[0];
  const router = {
    mac: (await lab.router.device('lan')).mac,
    address: addressOf(isV4 ? '192.0.2.1' : '2001:db8::1'),
  };
  const service = { mac: (await lab.balancer.device('eth0')).mac, address: addressOf(vip), port: 53 };
  const client = { mac: router.mac, address: addressOf(isV4 ? '198.51.100.2' : '2001:db8:1::2'), port };
  const errorsAt = await countErrors();
  await sendFrames(lab.router, 'lan', [tooLargeFrame(router, service, udpFrame(service, client, 64))]);
  await expect.poll(async () => (await errorsAt()).some((count) => count > 0), patience).toBe(true);
  return (await errorsAt()).flatMap((count, index) => Array.from({ length: count }, () => `n${index + 1}`));
}

test.each(vips.slice(0, 2))(
  'an ICMP error to %s about a datagram reaches the node that keeps its flow while it drains, or that keeps its client, with affinity',
  async (vip) => {
    const flows = await newFlows(vip, 12);
    await expectSame(vip, flows);
    drained.add('n1');
    await apply();
    const atFirst = [...flows].filter(([, node]) => node === 'n1').slice(0, 3);
    expect(atFirst.length).toBeGreaterThan(0);
    for (const [port, node] of atFirst) expect(await nodesTold(vip, port)).toEqual([node]);
    await apply({ isAffine: true });
    const [port = 0] = atFirst.map(([each]) => each);
    const node = await nodeOf(vip, port);
    await apply();
    for (let turn = 0; turn < 4; turn++) {
      const other = nextPort();
      expect(await nodeOf(vip, other)).toBe(node);
      expect(await nodesTold(vip, other)).toEqual([node]);
    }
  },
);
