import { describe, expect, test } from 'vitest';
import { web, webPort } from './harness/backends.ts';
import { eventually } from './harness/eventually.ts';
import { fetchMany, untilAnswer, urlOf } from './harness/fetch.ts';
import { namespace, pods } from './harness/names.ts';
import { isRoot, type Stage, useStage } from './harness/stage.ts';
import { startPod } from './harness/start-pod.ts';
import { startTraffic } from './harness/traffic.ts';

const annotations = { 'furiwake.dev/backends': 'pods' };
const slices = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;

async function answering({ client }: Stage, ip: string): Promise<string> {
  return [...new Set(await fetchMany(client, urlOf(ip), 12))].toSorted().join(' ');
}

/** Routes are read with the audit, every 30 s; a change of a default route causes one at once. */
async function haveRoutesRead(host: Stage['lb1']): Promise<void> {
  const another = ['default', 'via', '192.0.2.1', 'metric', '4242'];
  await host.exec(['ip', 'route', 'add', ...another]);
  await host.exec(['ip', 'route', 'delete', ...another]);
}

describe.skipIf(!isRoot)('Pods as servers', () => {
  const stage = useStage({ flags: ['--addresses', '192.0.2.200-192.0.2.210', '--zone', 'rack-2'] });

  test('a Service without NodePorts is served by its Pods', async () => {
    const { services, client } = stage();
    await services.create('podded', { annotations, spec: { allocateLoadBalancerNodePorts: false, selector: web } });
    const [ip = ''] = await services.published('podded');
    await untilAnswer(client, urlOf(ip), /^web/);
    expect(await answering(stage(), ip)).toBe('web-n1 web-n2');
    await services.condition('podded', 'Serving', 'Serving');
  });

  test('Pods are created and deleted under clients that never stop: no request fails', async () => {
    const { services, cluster, client } = stage();
    await startPod(cluster, 'rolling', 'rolling-0', 'n1');
    await services.create('rolling', { annotations, spec: { selector: { app: 'rolling' } } });
    const [ip = ''] = await services.published('rolling');
    await untilAnswer(client, urlOf(ip), 'rolling-0');
    await using traffic = await startTraffic(client, urlOf(ip), { perSecond: 50, held: 0 });
    for (const number of [1, 2]) {
      await startPod(cluster, 'rolling', `rolling-${number}`, `n${1 + (number % 2)}`);
      await eventually(async () => expect(await answering(stage(), ip)).toContain(`rolling-${number}`));
      await cluster.remove(`${pods}/rolling-${number - 1}`);
      await eventually(async () => expect(await answering(stage(), ip)).toBe(`rolling-${number}`));
    }
    expect(await traffic.after(100)).toMatchObject({ failed: 0 });
    await cluster.remove(`${pods}/rolling-2`);
  });

  test('with trafficDistribution, Pods for the zone of the host serve while there are some', async () => {
    const { services, cluster, client } = stage();
    const zoned = (zones: readonly (string | null)[]): Promise<unknown> =>
      Promise.all(
        zones.map((zone, index) =>
          cluster.merge(`/api/v1/nodes/n${index + 1}`, {
            metadata: { labels: { 'topology.kubernetes.io/zone': zone } },
          }),
        ),
      );
    await zoned(['rack-1', 'rack-2']);
    const spec = { selector: web, trafficDistribution: 'PreferSameZone' };
    await services.create('zoned', { annotations, spec });
    const [ip = ''] = await services.published('zoned');
    await untilAnswer(client, urlOf(ip), /^web/);
    await eventually(async () => expect(await answering(stage(), ip)).toBe('web-n2'));
    await services.change('zoned', { spec: { trafficDistribution: null } });
    await eventually(async () => expect(await answering(stage(), ip)).toBe('web-n1 web-n2'));
    await zoned([null, null]);
  });

  test('the host has lost its routes to Pods: NodePorts serve the Service, which says so, until the routes are back', async () => {
    const { services, client, lb1 } = stage();
    await services.create('routed', { annotations, spec: { selector: web } });
    const [ip = ''] = await services.published('routed');
    await services.condition('routed', 'Serving', 'Serving');
    const routes = (await lb1.exec(['ip', 'route', 'show'])).stdout
      .split('\n')
      .filter((line) => /^10\..* via /.test(line));
    expect(routes.length).toBeGreaterThan(0);
    for (const route of routes) await lb1.exec(['ip', 'route', 'delete', ...route.trim().split(/\s+/)]);
    await haveRoutesRead(lb1);
    // Between the two removals some Pods have a route.
    await eventually(async () => {
      const { message } = await services.condition('routed', 'Serving', 'NoRouteToPods');
      expect(message).toContain('NodePorts serve the Service');
    });
    await untilAnswer(client, urlOf(ip), /^web/);
    for (const route of routes) await lb1.exec(['ip', 'route', 'add', ...route.trim().split(/\s+/)]);
    await haveRoutesRead(lb1);
    await services.condition('routed', 'Serving', 'Serving');
    await untilAnswer(client, urlOf(ip), /^web/);
  });

  test('endpoints by hand that cannot be Pods are refused and named', async () => {
    const { services, cluster } = stage();
    await services.create('by-hand', { annotations, spec: { selector: null } });
    await services.published('by-hand');
    await cluster.create(slices, {
      metadata: { name: 'by-hand-1', labels: { 'kubernetes.io/service-name': 'by-hand' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['192.0.2.205'] }],
      ports: [{ name: '', protocol: 'TCP', port: webPort }],
    });
    const { message } = await services.condition('by-hand', 'Serving', 'EndpointsRefused');
    expect(message).toContain('192.0.2.205');
  });
});
