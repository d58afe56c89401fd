import { describe, expect, test } from 'vitest';
import { finalizers } from './harness/contract.ts';
import { eventually } from './harness/eventually.ts';
import { fetchFrom, fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { makeFuriwake } from './harness/furiwake.ts';
import { readHostState, untilHostState } from './harness/host-state.ts';
import { kubeconfigOf } from './harness/names.ts';
import { isRoot, useStage } from './harness/stage.ts';
import { startTraffic } from './harness/traffic.ts';

const flags = ['--addresses', '203.0.113.0/28'];

describe.skipIf(!isRoot)('before furiwake starts and after it has ended', () => {
  const stage = useStage({ isStarted: false, flags });

  test('`check` finds a ready host and cluster, and changes nothing', async () => {
    const { furiwake, lb1, lab } = stage();
    const before = await readHostState(lb1);
    const { code, said } = await furiwake.command(['check', '--kubeconfig', kubeconfigOf(lab), ...flags]);
    expect(said).toMatch(/^Ready: /m);
    expect(said).toContain('v1.37.2');
    expect(code).toBe(0);
    await untilHostState(lb1, before);
  });

  test('`check` names each missing permission', async () => {
    const { furiwake, lab } = stage();
    const kubeconfig = await lab.serviceAccountKubeconfig('lbtest', 'default');
    const { code, said } = await furiwake.command(['check', '--kubeconfig', kubeconfig, ...flags]);
    expect(said).toMatch(/patch services\/status/);
    expect(said).toMatch(/list servicecidrs/);
    expect(code).toBe(1);
  });

  test('after it ends traffic continues; `cleanup` ends the traffic, and with --cluster releases the Services', async () => {
    const { furiwake, services, client, lb1, lab } = stage();
    const before = await readHostState(lb1);
    await furiwake.start();
    await services.create('served');
    const [ip = ''] = await services.published('served');
    await untilAnswer(client, urlOf(ip), fromWeb);
    expect(await furiwake.command(['cleanup'])).toMatchObject({
      code: 1,
      said: expect.stringMatching(/already running on this host \(PID \d+/),
    });

    await using traffic = await startTraffic(client, urlOf(ip));
    await furiwake.stop();
    expect(await traffic.after(20)).toMatchObject({ failed: 0, broken: 0 });
    expect((await services.get('served')).metadata.finalizers?.toSorted()).toEqual(finalizers);

    expect(await furiwake.command(['cleanup', '--cluster', '--kubeconfig', kubeconfigOf(lab)])).toMatchObject({
      code: 0,
    });
    expect(await fetchFrom(client, urlOf(ip), 1)).not.toMatch(fromWeb);
    await untilHostState(lb1, before);
    const { metadata, status } = await services.get('served');
    expect({ finalizers: metadata.finalizers, status }).toEqual({
      finalizers: undefined,
      status: { loadBalancer: {} },
    });
    await services.remove('served');
  });

  test('with --stop-traffic-on-exit it leaves no trace on the host, and the Services keep their addresses', async () => {
    const { services, client, lab, lb1 } = stage();
    const before = await readHostState(lb1);
    await using strict = makeFuriwake(lab, { flags: [...flags, '--stop-traffic-on-exit'] });
    await strict.start();
    await services.create('strict');
    const published = await services.published('strict');
    await untilAnswer(client, urlOf(published[0] ?? ''), fromWeb);
    await strict.stop();
    await untilHostState(lb1, before);
    expect(await services.published('strict')).toEqual(published);
    await strict.start();
    await untilAnswer(client, urlOf(published[0] ?? ''), fromWeb);
    await services.remove('strict');
    await strict.stop();
  });

  test('`status` shows the Services as text', async () => {
    const { furiwake, services } = stage();
    await furiwake.start();
    await services.create('shown');
    const [ip] = await services.published('shown');
    await eventually(async () => {
      const { said } = await furiwake.command(['status']);
      expect(said).toMatch(/class furiwake\.dev\/haproxy\nstatus +ready\n/);
      expect(said).toMatch(new RegExp(`lbtest/shown +Serving +${ip} +80/TCP `));
      expect(said).toMatch(/n1 +192\.0\.2\.11 +up/);
    });
  });
});
