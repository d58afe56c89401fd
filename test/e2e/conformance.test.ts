import { describe, expect, test } from 'vitest';
import { web, webOnN1, webOnN2, webPort } from './harness/backends.ts';
import { askByUdp } from './harness/datagrams.ts';
import { eventually } from './harness/eventually.ts';
import { fetchFrom, fetchMany, fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { pods } from './harness/names.ts';
import { isRoot, type Stage, useStage } from './harness/stage.ts';
import { startPod } from './harness/start-pod.ts';
import { startTraffic } from './harness/traffic.ts';

const dns = { name: 'dns', port: 53, protocol: 'UDP', targetPort: 8081 };

/** How many Pods answer twenty requests of one client, each over a new connection. */
async function answering({ client }: Stage, ip: string): Promise<number> {
  return new Set(await fetchMany(client, urlOf(ip), 20)).size;
}

/** Behaviours of Kubernetes' own load-balancer cases (docs/conformance.md) that the other files do not show. */
describe.skipIf(!isRoot)('as the conformance tests demand', () => {
  const stage = useStage({ flags: ['--addresses', '192.0.2.200-192.0.2.210'] });

  test('type, port and nodePort of a UDP Service change', async () => {
    const { services, client } = stage();
    const untilSaid = (address: string, port: number, what: unknown): Promise<void> =>
      eventually(async () => expect(await askByUdp(client, { address, port, text: 'hostname' })).toEqual([what]));
    const { spec } = await services.create('udp', { spec: { ports: [dns] } });
    const [address = ''] = await services.published('udp');
    await untilSaid(address, 53, expect.stringMatching(fromWeb));
    const nodePort = spec.ports[0]?.nodePort === 31_999 ? 31_998 : 31_999;
    await services.change('udp', { spec: { ports: [{ ...dns, port: 5353, nodePort }] } });
    await untilSaid(address, 5353, expect.stringMatching(fromWeb));
    await untilSaid(address, 53, 'refused');
    await services.change('udp', { spec: { type: 'ClusterIP' } });
    await untilSaid(address, 5353, expect.not.stringMatching(fromWeb));
    await services.change('udp', { spec: { type: 'LoadBalancer' } });
    expect(await services.published('udp')).toEqual([address]);
    await untilSaid(address, 5353, expect.stringMatching(fromWeb));
  });

  test.each(['Cluster', 'Local'])('session affinity is switched on and off, %s', async (externalTrafficPolicy) => {
    const { services, client } = stage();
    const name = `affinity-${externalTrafficPolicy.toLowerCase()}`;
    await services.create(name, { spec: { externalTrafficPolicy } });
    const [ip = ''] = await services.published(name);
    await untilAnswer(client, urlOf(ip), fromWeb);
    await eventually(async () => expect(await answering(stage(), ip)).toBe(2));
    await services.change(name, { spec: { sessionAffinity: 'ClientIP' } });
    await eventually(async () => expect(await answering(stage(), ip)).toBe(1));
    await services.change(name, { spec: { sessionAffinity: 'None' } });
    await eventually(async () => expect(await answering(stage(), ip)).toBe(2));
  });

  test('a UDP flow reaches the Pod that replaces its own, Cluster and Local, on another node and on the same one', async () => {
    const { services, cluster, client } = stage();
    const replace = async (externalTrafficPolicy: 'Cluster' | 'Local', nodeName: string): Promise<void> => {
      const app = `cycling-${externalTrafficPolicy.toLowerCase()}-${nodeName}`;
      const [first, second] = [`${app}-first`, `${app}-second`];
      await startPod(cluster, app, first, 'n1');
      await services.create(app, { spec: { ports: [dns], selector: { app }, externalTrafficPolicy } });
      const [address = ''] = await services.published(app);
      const flow = { address, port: 53, text: 'hostname', firstPort: 40_000 };
      await eventually(async () => expect(await askByUdp(client, flow)).toEqual([first]));
      await startPod(cluster, app, second, nodeName);
      await cluster.remove(`${pods}/${first}`);
      await eventually(async () => expect(await askByUdp(client, flow)).toEqual([second]));
      await cluster.remove(`${pods}/${second}`);
    };
    await Promise.all([replace('Cluster', 'n2'), replace('Local', 'n2'), replace('Local', 'n1')]); // each waits for Pods
  });

  test('all Pods are replaced under clients that never stop, Cluster: no request fails', async () => {
    const { services, cluster, client } = stage();
    await startPod(cluster, 'rolled', 'rolled-0', 'n1');
    await services.create('rolled', { spec: { selector: { app: 'rolled' } } });
    const [ip = ''] = await services.published('rolled');
    await untilAnswer(client, urlOf(ip), 'rolled-0');
    await using traffic = await startTraffic(client, urlOf(ip), { perSecond: 50, held: 0 });
    await startPod(cluster, 'rolled', 'rolled-1', 'n2');
    await eventually(async () => expect(await answering(stage(), ip)).toBe(2));
    await cluster.remove(`${pods}/rolled-0`);
    await eventually(async () =>
      expect(new Set(await fetchMany(client, urlOf(ip), 12))).toEqual(new Set(['rolled-1'])),
    );
    expect(await traffic.after(100)).toMatchObject({ failed: 0 });
    await cluster.remove(`${pods}/rolled-1`);
  });

  test('a Pod reaches a Local Service that has no Pod on its node, and is seen with its own address', async () => {
    const { services, cluster, client } = stage();
    await services.create('asking', { spec: { selector: webOnN1 } });
    await services.create('asked', {
      spec: { externalTrafficPolicy: 'Local', selector: webOnN2, ports: [{ port: 81, targetPort: webPort }] },
    });
    const [[asking = ''], [asked = '']] = [await services.published('asking'), await services.published('asked')];
    const { status } = await cluster.get<{ readonly status: { readonly podIP: string } }>(`${pods}/web-n1`);
    const dial = urlOf(asking, 80, `/dial?protocol=http&host=${asked}&port=81&request=clientip&tries=1`);
    await eventually(async () => expect(await fetchFrom(client, dial)).toContain(`"${status.podIP}:`));
  });

  test('the NodePorts of a Service are removed and allocated again, and it is served throughout', async () => {
    const { services, client } = stage();
    await services.create('ports', { spec: { selector: web } });
    const [ip = ''] = await services.published('ports');
    await untilAnswer(client, urlOf(ip), fromWeb);
    const withNodePort = [{ port: 80, targetPort: webPort, nodePort: 31_997 }];
    await services.change('ports', {
      spec: { allocateLoadBalancerNodePorts: false, ports: [{ port: 80, targetPort: webPort, nodePort: 0 }] },
    });
    await services.condition('ports', 'Serving', 'Serving');
    await untilAnswer(client, urlOf(ip), fromWeb);
    await services.change('ports', { spec: { allocateLoadBalancerNodePorts: true, ports: withNodePort } });
    await services.condition('ports', 'Serving', 'Serving');
    await untilAnswer(client, urlOf(ip), fromWeb);
    expect((await services.get('ports')).spec.ports).toMatchObject([{ nodePort: 31_997 }]);
  });
});
