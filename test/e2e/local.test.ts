import { describe, expect, test } from 'vitest';
import { web, webOnN1 } from './harness/backends.ts';
import { askByUdp } from './harness/datagrams.ts';
import { eventually } from './harness/eventually.ts';
import { fetchFrom, fetchMany, untilAnswer, urlOf } from './harness/fetch.ts';
import { namespace, pods } from './harness/names.ts';
import { isRoot, type Stage, useStage } from './harness/stage.ts';
import { startPod } from './harness/start-pod.ts';
import { startTraffic } from './harness/traffic.ts';

const annotations = { 'furiwake.dev/dataplane': 'direct' };
const dns = { name: 'dns', port: 53, protocol: 'UDP', targetPort: 8081 };
const local = { externalTrafficPolicy: 'Local' };

async function answering({ client }: Stage, ip: string): Promise<string> {
  return [...new Set(await fetchMany(client, urlOf(ip), 12))].toSorted().join(' ');
}

describe.skipIf(!isRoot)('externalTrafficPolicy: Local', () => {
  const stage = useStage({ flags: ['--addresses', '192.0.2.200-192.0.2.210,203.0.113.0/28'] });

  test('through HAProxy only nodes with a Pod get connections; the condition says what is missing', async () => {
    const { services, client } = stage();
    const throughHaproxy = { 'furiwake.dev/dataplane': 'haproxy' };
    await services.create('local', { annotations: throughHaproxy, spec: { ...local, selector: webOnN1 } });
    const [ip = ''] = await services.published('local');
    await untilAnswer(client, urlOf(ip), 'web-n1');
    expect(await answering(stage(), ip)).toBe('web-n1');
    const { message } = await services.condition('local', 'Serving', 'FieldsNotHonoured');
    expect(message).toContain('Pods do not see the address of the client');
    await services.change('local', { spec: { selector: { ...web, node: null } } });
    await eventually(async () => expect(await answering(stage(), ip)).toBe('web-n1 web-n2'));
    await services.change('local', { spec: { externalTrafficPolicy: 'Cluster' } });
    await services.condition('local', 'Serving', 'Serving');
    await untilAnswer(client, urlOf(ip), /^web/);
  });

  test('the only Pod moves to another node under clients that never stop: no connection fails', async () => {
    const { services, cluster, client } = stage();
    await startPod(cluster, 'moving', 'moving-n1', 'n1');
    await services.create('moving', { spec: { ...local, selector: { app: 'moving' } } });
    const [ip = ''] = await services.published('moving');
    await untilAnswer(client, urlOf(ip), 'moving-n1');
    await using traffic = await startTraffic(client, urlOf(ip), { perSecond: 50, held: 0 });
    await startPod(cluster, 'moving', 'moving-n2', 'n2');
    await eventually(async () => expect(await answering(stage(), ip)).toBe('moving-n1 moving-n2'));
    await cluster.remove(`${pods}/moving-n1`);
    await eventually(async () => expect(await answering(stage(), ip)).toBe('moving-n2'));
    expect(await traffic.after(100)).toMatchObject({ failed: 0 });
    await cluster.remove(`${pods}/moving-n2`);
  });

  test('with direct the Pods see the address of the client, and only nodes with a Pod get packets', async () => {
    const { services, client } = stage();
    await services.create('udp', { annotations, spec: { ...local, ports: [dns], selector: webOnN1 } });
    const [address = ''] = await services.published('udp');
    await eventually(async () => {
      const [seen] = await askByUdp(client, { address, port: 53, text: 'clientip' });
      expect(seen).toContain(client.ip4);
    });
    const names = await askByUdp(client, { address, port: 53, text: 'hostname', count: 40 });
    expect(new Set(names)).toEqual(new Set(['web-n1']));
    expect((await services.condition('udp', 'Serving', 'Serving')).message).toBe('all ports are served');
  });

  test('direct serves a Service that is changed to Cluster, and back, without losing a datagram of a new flow', async () => {
    const { services, client } = stage();
    await services.create('widened', { annotations, spec: { ...local, ports: [dns], selector: webOnN1 } });
    const [address = ''] = await services.published('widened');
    const askMany = (count: number): Promise<readonly string[]> =>
      askByUdp(client, { address, port: 53, text: 'hostname', count, pauseMs: 40 });
    await eventually(async () => expect(await askMany(5)).toEqual(Array.from({ length: 5 }, () => 'web-n1')));
    for (const externalTrafficPolicy of ['Cluster', 'Local']) {
      const asking = askMany(100);
      // kube-proxy syncs for this one, and does so again after a second only.
      await services.create(`before-${externalTrafficPolicy.toLowerCase()}`, { spec: { ports: [{ port: 81 }] } });
      await services.change('widened', { spec: { externalTrafficPolicy } });
      expect(new Set(await asking)).toEqual(new Set(['web-n1']));
    }
  });

  test('the first connection of a new Service is one with the address of the client', async () => {
    const { services, client } = stage();
    for (const name of ['first', 'second', 'third']) {
      await services.create(name, { spec: { ...local, selector: webOnN1 } });
      const [ip = ''] = await services.published(name);
      expect(await fetchFrom(client, urlOf(ip, 80, '/clientip'), 8)).toContain(client.ip4);
    }
  });

  test('a Service without Pods says so, and serves when one is ready', async () => {
    const { services, client } = stage();
    await services.create('empty', { spec: { ...local, selector: { app: 'nobody' } } });
    const [ip = ''] = await services.published('empty');
    await services.condition('empty', 'Serving', 'NoEndpoints');
    expect(await fetchFrom(client, urlOf(ip))).not.toMatch(/^web/);
    await services.change('empty', { spec: { selector: web } });
    await untilAnswer(client, urlOf(ip), /^web/);
  });

  // The last one: it leaves furiwake with what it has measured.
  test('a node whose MTU is another one gets nothing from direct, unless that is requested, and the condition names it', async () => {
    const { services, furiwake, lab } = stage();
    const setMtu = (mtu: string): Promise<unknown> => lab.host('n2').exec(['ip', 'link', 'set', 'eth0', 'mtu', mtu]);
    await furiwake.kill();
    await setMtu('1400');
    try {
      await furiwake.start();
      await services.create('mtu', { spec: { ...local, selector: web } });
      const [ip = ''] = await services.published('mtu');
      const { message } = await services.condition('mtu', 'Serving', 'NodesNotReached');
      expect(message).toContain('direct sends no new flows to some nodes with ready endpoints: the MTU of n2 is ');
      await eventually(async () => expect(await answering(stage(), ip)).toBe('web-n1'));
      const { said } = await furiwake.command(['status', `${namespace}/mtu`]);
      expect(said).toMatch(/^nodes .* n2 \(1, direct sends no new flows to it: the MTU of n2 is /m);
      await services.create('asked', { annotations, spec: { ...local, selector: web } });
      const [other = ''] = await services.published('asked');
      await eventually(async () => expect(await answering(stage(), other)).toBe('web-n1 web-n2'));
      expect((await services.condition('asked', 'Serving', 'Serving')).message).toBe('all ports are served');
    } finally {
      await setMtu('1500');
    }
  });
});
