import { describe, expect, test } from 'vitest';
import { sourceRangesAnnotation } from './harness/contract.ts';
import { webPort } from './harness/backends.ts';
import { askByUdp } from './harness/datagrams.ts';
import { fetchFrom, fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { eventually } from './harness/eventually.ts';
import { namespace } from './harness/names.ts';
import type { Port } from './harness/services.ts';
import { isRoot, useStage } from './harness/stage.ts';
import { startTraffic } from './harness/traffic.ts';

describe.skipIf(!isRoot)('a Service that changes', () => {
  const stage = useStage();

  test('another port is served at once, and the old one is refused', async () => {
    const { services, client } = stage();
    await services.create('ports');
    const [ip = ''] = await services.published('ports');
    await untilAnswer(client, urlOf(ip, 80), fromWeb);
    const ports = [
      { name: 'a', port: 8001, targetPort: webPort },
      { name: 'b', port: 8002, targetPort: webPort },
    ];
    await services.change('ports', { spec: { ports } });
    await untilAnswer(client, urlOf(ip, 8001), fromWeb);
    await untilAnswer(client, urlOf(ip, 8002), fromWeb);
    await untilAnswer(client, urlOf(ip, 80), 'refused');
    await eventually(async () => {
      const [ingress] = (await services.get('ports')).status.loadBalancer.ingress ?? [];
      expect(ingress?.ports?.map(({ port }) => port)).toEqual([8001, 8002]);
    });
  });

  test.each(['haproxy', 'nat', 'direct'])('250 ports of %s are served, and change all at once', async (dataplane) => {
    const { services, client, lb1 } = stage();
    const address = lb1.ip4;
    const portsFrom = (first: number): readonly Port[] =>
      Array.from({ length: 125 }, (_, index) => first + index).flatMap((port) => [
        { name: `t${port}`, port, targetPort: webPort },
        { name: `u${port}`, port, targetPort: 8081, protocol: 'UDP' },
      ]);
    const untilServed = async (first: number): Promise<void> => {
      await eventually(async () => {
        const [ingress] = (await services.get('many')).status.loadBalancer.ingress ?? [];
        const served = ingress?.ports?.filter(({ error }) => error === undefined) ?? [];
        expect(served.map(({ port }) => port)).toEqual(portsFrom(first).map(({ port }) => port));
      });
      for (const port of [first, first + 124]) {
        await untilAnswer(client, urlOf(address, port), fromWeb);
        await eventually(async () => {
          const [answer] = await askByUdp(client, { address, port, text: 'hostname' });
          expect(answer).toMatch(fromWeb);
        });
      }
    };
    const annotations = { 'furiwake.dev/dataplane': dataplane };
    await services.create('many', { annotations, spec: { ports: portsFrom(2_000) } });
    await untilServed(2_000);
    await services.change('many', { spec: { ports: portsFrom(3_000) } });
    await untilServed(3_000);
    await untilAnswer(client, urlOf(address, 2_000), 'refused');
  });

  test('another nodePort is followed', async () => {
    const { services, client, lab } = stage();
    const { spec } = await services.create('nodeport');
    const [ip = ''] = await services.published('nodeport');
    await untilAnswer(client, urlOf(ip), fromWeb);
    const oldPort = spec.ports[0]?.nodePort;
    const nodePort = oldPort === 31_999 ? 31_998 : 31_999;
    await services.change('nodeport', { spec: { ports: [{ port: 80, targetPort: webPort, nodePort }] } });
    // kube-proxy answers on the old one until its next sync, so an earlier answer has no meaning.
    for (const node of ['n1', 'n2']) await untilAnswer(client, urlOf(lab.host(node).ip4, oldPort), 'refused');
    await untilAnswer(client, urlOf(ip), fromWeb);
    expect(await services.published('nodeport')).toEqual([ip]);
  });

  test('a Service whose type changes is released, and served again when it is a load balancer again', async () => {
    const { services, client } = stage();
    await services.create('type');
    const [ip = ''] = await services.published('type');
    await services.change('type', { spec: { type: 'ClusterIP' } });
    await eventually(async () => {
      const { metadata, status } = await services.get('type');
      expect({ finalizers: metadata.finalizers, status }).toEqual({
        finalizers: undefined,
        status: { loadBalancer: {} },
      });
    });
    expect(await fetchFrom(client, urlOf(ip))).toBe('refused');

    await services.change('type', { spec: { type: 'LoadBalancer' } });
    expect(await services.published('type')).toEqual([ip]);
    await untilAnswer(client, urlOf(ip), fromWeb);
  });

  test('the class is served, another class is not touched, and a Service that changes to one is released', async () => {
    const { services, client } = stage();
    await services.create('class', { spec: { loadBalancerClass: 'furiwake.dev/haproxy' } });
    await services.create('foreign', {
      spec: { loadBalancerClass: 'example.com/other', ports: [{ port: 81, targetPort: webPort }] },
    });
    const [ip = ''] = await services.published('class');
    await untilAnswer(client, urlOf(ip), fromWeb);

    // The class of a load balancer can be changed only through another type.
    await services.change('class', { spec: { type: 'ClusterIP', loadBalancerClass: null } });
    await services.change('class', { spec: { type: 'LoadBalancer', loadBalancerClass: 'example.com/other' } });
    for (const name of ['class', 'foreign']) {
      await eventually(async () => {
        const { metadata, status } = await services.get(name);
        expect({ finalizers: metadata.finalizers, status }).toEqual({
          finalizers: undefined,
          status: { loadBalancer: {} },
        });
      });
    }
    expect(await fetchFrom(client, urlOf(ip, 80))).toBe('refused');
    expect(await fetchFrom(client, urlOf(ip, 81))).toBe('refused');
  });

  test('source ranges admit exactly their clients, from the next connection on', async () => {
    const { services, client, lanclient } = stage();
    await services.create('ranges', { spec: { loadBalancerSourceRanges: ['198.51.100.0/25', '198.51.100.0/24'] } });
    const url = urlOf((await services.published('ranges'))[0] ?? '');
    await untilAnswer(client, url, fromWeb);
    expect(await fetchFrom(lanclient, url, 1)).toBe('silence');

    await services.change('ranges', { spec: { loadBalancerSourceRanges: [`${lanclient.ip4}/32`] } });
    await untilAnswer(lanclient, url, fromWeb);
    expect(await fetchFrom(client, url, 1)).toBe('silence');

    await services.change('ranges', { spec: { loadBalancerSourceRanges: null } });
    await untilAnswer(client, url, fromWeb);
    await untilAnswer(lanclient, url, fromWeb);
  });

  test('source ranges of only the other family permit no client, and the condition says so', async () => {
    const { services, client } = stage();
    await services.create('closed', { spec: { loadBalancerSourceRanges: ['2001:db8::/32'] } });
    const url = urlOf((await services.published('closed'))[0] ?? '');
    await services.condition('closed', 'Serving', 'InvalidSourceRanges');
    expect(await fetchFrom(client, url, 1)).toBe('silence');
  });

  test('the old annotation for source ranges counts if the field is empty', async () => {
    const { services, client, lanclient } = stage();
    await services.create('annotated', { annotations: { [sourceRangesAnnotation]: ' 192.0.2.0/24 , 10.0.0.0/8' } });
    const url = urlOf((await services.published('annotated'))[0] ?? '');
    await untilAnswer(lanclient, url, fromWeb);
    expect(await fetchFrom(client, url, 1)).toBe('silence');
  });

  test('that an administrator drains keeps its connections and gets no new ones, also after a restart of furiwake', async () => {
    const { services, client, furiwake } = stage();
    await services.create('drained');
    const url = urlOf((await services.published('drained'))[0] ?? '');
    await untilAnswer(client, url, fromWeb);
    await using held = await startTraffic(client, url, { perSecond: 0, held: 3 });
    expect(await furiwake.command(['drain', `${namespace}/drained`])).toMatchObject({ code: 0 });
    await services.condition('drained', 'Serving', 'Drained');
    expect(await fetchFrom(client, url)).not.toMatch(fromWeb);
    await furiwake.stop();
    await furiwake.start();
    expect(await fetchFrom(client, url)).not.toMatch(fromWeb);
    expect(held.totals()).toMatchObject({ holding: 3, broken: 0 });
    expect(await furiwake.command(['undrain', `${namespace}/drained`])).toMatchObject({ code: 0 });
    await untilAnswer(client, url, fromWeb);
    await services.condition('drained', 'Serving', 'Serving');
  });
});
