import { describe, expect, test } from 'vitest';
import { webPort } from './harness/backends.ts';
import { askByUdp } from './harness/datagrams.ts';
import { eventually } from './harness/eventually.ts';
import { fetchMany, fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { isRoot, useStage } from './harness/stage.ts';

const dns = { name: 'dns', port: 53, protocol: 'UDP', targetPort: 8081 };
const http = { name: 'http', port: 80, protocol: 'TCP', targetPort: webPort };

describe.skipIf(!isRoot)('a Service that nat serves', () => {
  const stage = useStage({ flags: ['--addresses', '192.0.2.200-192.0.2.210,203.0.113.0/28,2001:db8:0:3::/124'] });

  test('over UDP by default, beside TCP by HAProxy, in both families', async () => {
    const { services, client, lanclient } = stage();
    const families = { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv4', 'IPv6'] };
    await services.create('both', { spec: { ...families, ports: [dns, http] } });
    const addresses = await services.published('both', 2);
    expect((await services.get('both')).status.loadBalancer.ingress).toMatchObject([
      { ipMode: 'Proxy' },
      { ipMode: 'Proxy' },
    ]);
    expect((await services.condition('both', 'Serving', 'Serving')).message).toBe('all ports are served');
    for (const address of addresses) {
      await untilAnswer(client, urlOf(address), fromWeb);
      for (const host of [client, lanclient])
        await eventually(async () => {
          expect(await askByUdp(host, { address, port: 53, text: 'hostname' })).toEqual([
            expect.stringMatching(fromWeb),
          ]);
        });
      const names = await askByUdp(client, { address, port: 53, text: 'hostname', count: 40 });
      expect([...new Set(names)].toSorted()).toEqual(['web-n1', 'web-n2']);
    }
  });

  test('over TCP with the annotation', async () => {
    const { services, client } = stage();
    await services.create('tcp', { annotations: { 'furiwake.dev/dataplane': 'nat' }, spec: { ports: [http] } });
    const [address = ''] = await services.published('tcp');
    // One kube-proxy may serve the nodePort a second before the other.
    await eventually(async () => {
      const answers = await fetchMany(client, urlOf(address), 12);
      expect([...new Set(answers)].toSorted()).toEqual(['web-n1', 'web-n2']);
    });
  });

  test('a client that sends from before the Service exists is answered', async () => {
    const { services, client } = stage();
    const port = 5353;
    const address = '203.0.113.9';
    const asking = askByUdp(client, { address, port, text: 'hostname', count: 20, pauseMs: 200 });
    await services.create('early', { spec: { ports: [{ ...dns, port }], loadBalancerIP: address } });
    await services.published('early');
    expect((await asking).at(-1)).toMatch(fromWeb);
  });

  test('keeps answering while furiwake is killed, and after it has started again', async () => {
    const { services, client, furiwake } = stage();
    await services.create('flows', { spec: { ports: [dns] } });
    const [address = ''] = await services.published('flows');
    const ask = (): Promise<readonly string[]> => askByUdp(client, { address, port: 53, text: 'hostname', count: 10 });
    const answered = Array.from({ length: 10 }, () => expect.stringMatching(fromWeb));
    await eventually(async () => expect(await ask()).toEqual(answered));
    await furiwake.kill();
    expect(await ask()).toEqual(answered);
    await furiwake.start();
    expect(await ask()).toEqual(answered);
  });
});
