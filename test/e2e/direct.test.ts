import { describe, expect, test } from 'vitest';
import type { Host } from '../../lab/network/host.ts';
import { startKubeProxy } from './harness/api-server.ts';
import { webPort } from './harness/backends.ts';
import { askByUdp, startStream } from './harness/datagrams.ts';
import { eventually } from './harness/eventually.ts';
import { fetchFrom, fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { isRoot, useStage } from './harness/stage.ts';
import { startTraffic } from './harness/traffic.ts';

const annotations = { 'furiwake.dev/dataplane': 'direct' };
const dns = { name: 'dns', port: 53, protocol: 'UDP', targetPort: 8081 };
const http = { name: 'http', port: 80, protocol: 'TCP', targetPort: webPort };

/** Until a new flow to UDP port 53 shows the address of the host to its Pod: nat has stood in until then. */
async function untilDirect(host: Host, address: string): Promise<void> {
  await eventually(async () => {
    const [seen = ''] = await askByUdp(host, { address, port: 53, text: 'clientip' });
    expect(seen.replace(/:\d+$/, '').replace('::ffff:', '').replaceAll(/[[\]]/g, '')).toBe(host.ip4);
  }, 10_000);
}

/** Until Pods on both nodes answer, and no datagram is lost: the kube-proxies do not sync at the same moment. */
async function untilBothNodes(host: Host, address: string): Promise<void> {
  await eventually(async () => {
    const names = await askByUdp(host, { address, port: 53, text: 'hostname', count: 40 });
    expect([...new Set(names)].toSorted()).toEqual(['web-n1', 'web-n2']);
  });
}

describe.skipIf(!isRoot)('a Service that direct serves', () => {
  const stage = useStage({ flags: ['--addresses', '192.0.2.200-192.0.2.210,203.0.113.0/28,2001:db8:0:3::/124'] });

  test.each([
    ['an address of the LAN', '192.0.2.205'],
    ['a routed address', '203.0.113.5'],
  ])('over UDP on %s: its Pods see the address of the client', async (_, address) => {
    const { services, client, lanclient, lb1 } = stage();
    await services.create('udp', {
      annotations,
      spec: { ports: [dns], externalTrafficPolicy: 'Local', loadBalancerIP: address },
    });
    expect(await services.published('udp')).toEqual([address]);
    expect((await services.get('udp')).status.loadBalancer.ingress).toMatchObject([{ ip: address, ipMode: 'VIP' }]);
    for (const host of [client, lanclient]) await untilDirect(host, address);
    const impossible = await lb1.exec(['nft', 'list', 'set', 'netdev', 'furiwake', 'impossible4']);
    expect(impossible.stdout).toContain('10.96.0.0'); // no client has an address of the Service CIDR
    await untilBothNodes(client, address);
  });

  test.each([
    ['with the annotation', annotations],
    ['by itself', {}],
  ])(
    'over TCP and UDP, without nodePorts and in both families, %s; the host itself reaches its Pods',
    async (_, each) => {
      const { services, client, lb1 } = stage();
      const families = { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv4', 'IPv6'] };
      await services.create('both', {
        annotations: each,
        spec: { ...families, ports: [dns, http], allocateLoadBalancerNodePorts: false },
      });
      for (const address of await services.published('both', 2)) {
        for (const host of [client, lb1]) {
          await untilAnswer(host, urlOf(address), fromWeb);
          await eventually(async () => {
            expect(await askByUdp(host, { address, port: 53, text: 'hostname' })).toEqual([
              expect.stringMatching(fromWeb),
            ]);
          });
        }
      }
    },
  );

  test('a client that sends from before the Service exists is answered as soon as kube-proxy serves it', async () => {
    const { services, client } = stage();
    const port = 5353;
    const address = '203.0.113.9';
    const asking = askByUdp(client, { address, port, text: 'hostname', count: 15, pauseMs: 200 });
    await services.create('early', { annotations, spec: { ports: [{ ...dns, port }], loadBalancerIP: address } });
    await services.published('early');
    expect((await asking).at(-1)).toMatch(fromWeb);
  });

  test('keeps each flow at its node while furiwake is killed, and after it has started again', async () => {
    const { services, client, furiwake } = stage();
    await services.create('flows', { annotations, spec: { ports: [dns], externalTrafficPolicy: 'Local' } });
    const [address = ''] = await services.published('flows');
    await untilDirect(client, address);
    const ask = (firstPort: number): Promise<readonly string[]> =>
      askByUdp(client, { address, port: 53, text: 'hostname', count: 20, firstPort });
    let port = 30_000; // a flow that was asked before both nodes are open stays at the first
    await eventually(async () => {
      const names = await ask((port += 20));
      expect([...new Set(names)].toSorted()).toEqual(['web-n1', 'web-n2']);
    });
    const askFlows = (): Promise<readonly string[]> => ask(port);
    const before = await askFlows();
    await furiwake.kill();
    expect(await askFlows()).toEqual(before);
    await furiwake.start();
    expect(await askFlows()).toEqual(before);
  });

  test('after a boot of the host the nodes are shown to serve a Service that was published before, and only then get packets', async () => {
    const { services, client, furiwake, lb1 } = stage();
    const spec = { ports: [dns], allocateLoadBalancerNodePorts: false };
    await services.create('booted', { annotations, spec });
    const [address = ''] = await services.published('booted');
    const ask = async (): Promise<unknown> => (await askByUdp(client, { address, port: 53, text: 'hostname' }))[0];
    await eventually(async () => expect(await ask()).toMatch(fromWeb));
    await furiwake.kill();
    expect(await ask()).toMatch(fromWeb);
    await lb1.exec(['nft', 'delete', 'table', 'netdev', 'furiwake']);
    const startedMs = performance.now();
    await furiwake.start();
    await eventually(async () => expect(await ask()).toMatch(fromWeb));
    // Without a record of the proofs, kube-proxy must have needed no sync for two seconds at least.
    expect(performance.now() - startedMs).toBeGreaterThan(2_000);
  });

  test('a kube-proxy that is killed and starts again costs no datagram and no connection', async () => {
    const { services, lab, client } = stage();
    await services.create('proxied', { annotations, spec: { ports: [dns, http], externalTrafficPolicy: 'Local' } });
    const [address = ''] = await services.published('proxied');
    await untilDirect(client, address);
    await eventually(async () => {
      expect(await fetchFrom(client, urlOf(address, 80, '/clientip'), 1)).toContain(client.ip4);
    });
    await using stream = await startStream(client, { address, port: 53 });
    await using traffic = await startTraffic(client, urlOf(address), { perSecond: 50, held: 4 });
    for (const node of ['n1', 'n2']) {
      await lab.stopPart(`${node}-kube-proxy`, { graceMs: 0 });
      await traffic.after(150); // for three seconds: the node is known to be without
      await startKubeProxy(lab, node);
    }
    expect(await stream.after(50)).toMatchObject({ lost: 0, sources: [client.ip4] });
    expect(await traffic.after(50)).toMatchObject({ failed: 0, broken: 0 });
  });

  test('with sessionAffinity all datagrams of a client reach one Pod', async () => {
    const { services, client } = stage();
    await services.create('affine', { annotations, spec: { ports: [dns], sessionAffinity: 'ClientIP' } });
    const [address = ''] = await services.published('affine');
    // Through nat it may be a Pod of each node.
    await eventually(async () => {
      const names = await askByUdp(client, { address, port: 53, text: 'hostname', count: 20 });
      expect([...new Set(names)]).toEqual([expect.stringMatching(fromWeb)]);
    });
    expect((await services.condition('affine', 'Serving', 'Serving')).message).toBe('all ports are served');
  });

  test('a Local Service moves to direct by itself, when its nodes are shown to answer, and no request fails meanwhile', async () => {
    const { services, client } = stage();
    await services.create('local', { spec: { ports: [http], externalTrafficPolicy: 'Local' } });
    const [address = ''] = await services.published('local');
    await untilAnswer(client, urlOf(address), fromWeb);
    const answers: string[] = [];
    await eventually(async () => {
      answers.push(await fetchFrom(client, urlOf(address), 1));
      expect(await fetchFrom(client, urlOf(address, 80, '/clientip'), 1)).toContain(client.ip4);
    });
    expect(answers.filter((answer) => !fromWeb.test(answer))).toEqual([]);
    expect((await services.get('local')).status.loadBalancer.ingress).toMatchObject([{ ipMode: 'VIP' }]);
  });

  test('with UDP ports only, a Local Service without the annotation has direct within seconds: its Pods see the address of the client', async () => {
    const { services, client } = stage();
    await services.create('trap', { spec: { ports: [dns], externalTrafficPolicy: 'Local' } });
    const [address = ''] = await services.published('trap');
    expect((await services.get('trap')).status.loadBalancer.ingress).toMatchObject([{ ip: address, ipMode: 'VIP' }]);
    await untilDirect(client, address);
    expect((await services.condition('trap', 'Serving', 'Serving')).message).toBe('all ports are served');
  });

  test('from nat to direct and back, no datagram of a client that never stops is lost, and its flow stays where it is', async () => {
    const { services, client, lb1 } = stage();
    const byNat = { 'furiwake.dev/dataplane': 'nat' };
    await services.create('move', { annotations: byNat, spec: { ports: [dns], externalTrafficPolicy: 'Local' } });
    const [address = ''] = await services.published('move');
    const ask = (): Promise<readonly string[]> => askByUdp(client, { address, port: 53, text: 'clientip' });
    await untilBothNodes(client, address);
    expect(await ask()).toEqual([expect.stringContaining(lb1.ip4)]);
    await using early = await startStream(client, { address, port: 53 });
    await early.after(600); // for more than ten seconds: to the Service, and its flow, nothing is new
    await services.change('move', { metadata: { annotations: { 'furiwake.dev/dataplane': null } } });
    await eventually(async () => expect(await ask()).toEqual([expect.stringContaining(client.ip4)]));
    await using late = await startStream(client, { address, port: 53 });
    await late.after(50);
    await services.change('move', { metadata: { annotations: byNat } });
    await eventually(async () => expect(await ask()).toEqual([expect.stringContaining(lb1.ip4)]));
    expect(await late.after(100)).toMatchObject({ lost: 0, sources: [client.ip4] });
    expect(await early.after(100)).toMatchObject({ lost: 0, sources: [lb1.ip4] });
  });

  test('after it is removed its packets are refused, and HAProxy may serve the port', async () => {
    const { services, client } = stage();
    await services.create('gone', { annotations, spec: { ports: [http] } });
    const [address = ''] = await services.published('gone');
    await untilAnswer(client, urlOf(address), fromWeb);
    await services.remove('gone');
    expect(await fetchFrom(client, urlOf(address), 1)).not.toMatch(fromWeb);
    await services.create('next', { spec: { ports: [http], loadBalancerIP: address } });
    expect(await services.published('next')).toEqual([address]);
    await untilAnswer(client, urlOf(address), fromWeb);
  });
});
