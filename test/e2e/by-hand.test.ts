import { describe, expect, test } from 'vitest';
import type { Host } from '../../lab/network/host.ts';
import type { ConnectionList } from '../../src/daemon/ended-connections.ts';
import { finalizers } from './harness/contract.ts';
import { nginx, nobody, web, webOnN1, webPort } from './harness/backends.ts';
import { fetchFrom, fetchMany, fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { eventually } from './harness/eventually.ts';
import { haproxyFolder } from './harness/furiwake.ts';
import { readHostState } from './harness/host-state.ts';
import { isRoot, useStage } from './harness/stage.ts';
import { startTraffic } from './harness/traffic.ts';

/** furiwake's metrics: `NAME{LABELS}` → value. */
async function figuresOf(host: Host): Promise<ReadonlyMap<string, number>> {
  const { stdout } = await host.exec(['curl', '--silent', '--fail', 'http://127.0.0.1:9470/metrics']);
  const lines = stdout.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}

describe.skipIf(!isRoot)('furiwake does the work of an administrator', () => {
  const stage = useStage();

  test('a pending Service is served, its status is correct, and its deletion leaves no trace', async () => {
    const { services, furiwake, client, lb1 } = stage();
    const { addresses } = await readHostState(lb1);
    await furiwake.stop();
    await services.create('nginx', { spec: { selector: nginx, ports: [{ port: 80 }] } });
    expect((await services.get('nginx')).status).toEqual({ loadBalancer: {} });

    await furiwake.start();
    expect(await services.published('nginx')).toEqual([lb1.ip4]);
    await untilAnswer(client, urlOf(lb1.ip4, 80, '/'), 'Welcome to nginx!');

    await services.condition('nginx', 'Serving', 'Serving');
    const { metadata, status } = await services.get('nginx');
    expect(metadata.finalizers?.toSorted()).toEqual(finalizers);
    expect(status.loadBalancer.ingress).toEqual([
      { ip: lb1.ip4, ipMode: 'Proxy', ports: [{ port: 80, protocol: 'TCP' }] },
    ]);
    expect(status.conditions?.map(({ type, status: value, reason }) => [type, value, reason])).toEqual([
      ['furiwake.dev/AddressAssigned', 'True', 'Assigned'],
      ['furiwake.dev/Serving', 'True', 'Serving'],
    ]);
    expect(await services.event('nginx', 'Assigned')).toMatchObject({ type: 'Normal', note: `assigned ${lb1.ip4}` });
    expect(await services.event('nginx', 'Serving')).toMatchObject({ type: 'Normal' });

    await services.remove('nginx');
    expect(await fetchFrom(client, urlOf(lb1.ip4))).toBe('refused');
    expect(await services.events('nginx')).not.toContainEqual(expect.objectContaining({ type: 'Warning' }));
    expect((await readHostState(lb1)).addresses).toBe(addresses);
    expect((await lb1.exec(['nft', 'list', 'ruleset'])).stdout).not.toContain(lb1.ip4);
    expect((await furiwake.status()).services).toEqual([]);
  });

  test('connections go over all nodes, as HAProxy counts them', async () => {
    const { services, furiwake, client } = stage();
    await services.create('balanced');
    const [ip = ''] = await services.published('balanced');
    await untilAnswer(client, urlOf(ip), fromWeb);
    const totals = async (): Promise<readonly number[]> =>
      (await furiwake.status()).nodes.filter(({ family }) => family === 4).map(({ total }) => total);
    const before = await totals();
    const pods = await fetchMany(client, urlOf(ip), 40);
    const after = await totals();
    const shares = after.map((total, node) => total - (before[node] ?? 0));
    // About half each: a retried or late connection may change the ratio.
    expect(shares).toHaveLength(2);
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(5);
    expect(shares.reduce((sum, share) => sum + share)).toBeGreaterThanOrEqual(40);
    expect([...new Set(pods)].sort()).toEqual(['web-n1', 'web-n2']);
    const line = (await furiwake.status()).services.find(({ service }) => service === 'lbtest/balanced');
    expect(line).toMatchObject({
      addresses: [ip],
      ports: [{ port: 80, protocol: 'TCP' }],
      status: 'Serving',
      reason: 'Serving',
    });
    expect(line?.traffic?.total).toBeGreaterThanOrEqual(40);
    const listed = await furiwake.command(['connections', 'lbtest/balanced', '--last', '40', '--output', 'json']);
    const { connections } = JSON.parse(listed.said) as ConnectionList;
    expect(connections).toHaveLength(40);
    expect(new Set(connections.map(({ node }) => node))).toEqual(new Set(['n1', 'n2']));
    expect(connections.at(-1)).toMatchObject({ address: ip, port: 80, service: 'lbtest/balanced' });
    expect(await furiwake.command(['connections', 'lbtest/none'])).toMatchObject({ code: 1 });
  });

  test('without endpoints a connection is refused, the address stays, and the first endpoint is used', async () => {
    const { services, client } = stage();
    await services.create('empty', { spec: { selector: nobody } });
    const published = await services.published('empty');
    const url = urlOf(published[0] ?? '');
    await services.condition('empty', 'Serving', 'NoEndpoints');
    await untilAnswer(client, url, 'refused');
    await services.change('empty', { spec: { selector: webOnN1 } });
    await untilAnswer(client, url, 'web-n1');
    await services.condition('empty', 'Serving', 'Serving');
    await services.change('empty', { spec: { selector: { ...web, ...nobody } } });
    await untilAnswer(client, url, 'refused');
    expect(await services.published('empty')).toEqual(published);
  });

  test('a port whose name no Pod has is refused, also after a restart, and so is a Service without a selector', async () => {
    const { services, client, furiwake } = stage();
    const ports = [
      { name: 'web', port: 80, targetPort: webPort },
      { name: 'admin', port: 81, targetPort: 'admin' },
    ];
    await services.create('named', { spec: { ports } });
    await services.create('unselected', { spec: { ports: [{ port: 82 }], selector: null } });
    const [ip = ''] = await services.published('named');
    expect(await services.published('unselected')).toEqual([ip]);
    await untilAnswer(client, urlOf(ip, 80), fromWeb);
    const expectRefused = async (): Promise<void> => {
      for (const port of [81, 82]) expect(await fetchFrom(client, urlOf(ip, port))).toBe('refused');
      expect(await fetchFrom(client, urlOf(ip, 80))).toMatch(fromWeb);
    };
    await expectRefused();
    await furiwake.stop();
    await expectRefused();
    await furiwake.start();
    await expectRefused();
    await services.change('named', { spec: { ports: ports.map((port) => ({ ...port, targetPort: webPort })) } });
    await untilAnswer(client, urlOf(ip, 81), fromWeb);
  });

  test('deleting a Service ends its connections at once, and no others', async () => {
    const { services, client } = stage();
    await services.create('goes');
    await services.create('stays', { spec: { ports: [{ port: 81, targetPort: 8080 }] } });
    const [ip = ''] = await services.published('goes');
    expect(await services.published('stays')).toEqual([ip]);
    for (const port of [80, 81]) await untilAnswer(client, urlOf(ip, port), fromWeb);
    await using going = await startTraffic(client, urlOf(ip, 80), { perSecond: 0, held: 5 });
    await using staying = await startTraffic(client, urlOf(ip, 81), { held: 5 });
    await services.remove('goes');
    await eventually(() => expect(going.totals()).toMatchObject({ holding: 0, broken: 5 }), 15_000);
    expect(await staying.after(20)).toMatchObject({ failed: 0, broken: 0, holding: 5 });
  });

  test('its actions are visible: a line of the log for each decision, and metrics', async () => {
    const { services, furiwake, lb1 } = stage();
    await services.create('told');
    await services.published('told');
    expect(await furiwake.logged('"service":"lbtest/told"')).toMatchObject({
      addresses: [lb1.ip4],
      reason: 'Assigned',
    });
    const figures = await eventually(async () => {
      const now = await figuresOf(lb1);
      expect(now.get('furiwake_service_publish_seconds_count')).toBeGreaterThanOrEqual(1);
      return now;
    });
    expect(figures.get('furiwake_listeners{state="in force"}')).toBe(1);
    expect(figures.get('furiwake_dataplane_apply_seconds_count')).toBeGreaterThanOrEqual(1);
    expect(figures.get('furiwake_reloads_total')).toBe(0);
    const errors = [...figures].filter(([name]) => name.startsWith('furiwake_reconcile_errors_total'));
    expect(errors.filter(([, count]) => count > 0)).toEqual([]);
    expect([...figures.keys()].filter((name) => name.startsWith('furiwake_servers{'))).not.toEqual([]);
  });

  test('an idle connection ends after an hour by default', async () => {
    const { lb1 } = stage();
    const pattern = 'timeout (client|server|tunnel) +[0-9]{3}';
    const { stdout } = await lb1.exec(['sh', '-c', `grep -E '${pattern}' ${haproxyFolder}/haproxy.cfg`]);
    expect(stdout.trim().split(/\s*\n\s*/)).toEqual([
      'timeout client 3600s',
      'timeout server 3600s',
      'timeout tunnel 3600s',
    ]);
  });
});
