import { describe, expect, test } from 'vitest';
import { startApiServer, stopApiServer } from './harness/api-server.ts';
import { nobody } from './harness/backends.ts';
import { eventually } from './harness/eventually.ts';
import { fetchFrom, fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { haproxyFolder } from './harness/furiwake.ts';
import { isRoot, type Stage, useStage } from './harness/stage.ts';
import { startTraffic } from './harness/traffic.ts';

/** Creates a Service of the web Pods and waits until it answers; returns its address. */
async function served({ services, client }: Stage, name: string, port = 80): Promise<string> {
  await services.create(name, { spec: { ports: [{ port, targetPort: 8080 }] } });
  const [ip = ''] = await services.published(name);
  await answers({ client }, ip, port);
  return ip;
}

/** How long a Lease is valid without a renewal. After that nothing changes in a longer outage. */
const leaseMs = 15_000;

async function answers({ client }: Pick<Stage, 'client'>, ip: string, port = 80): Promise<void> {
  await untilAnswer(client, urlOf(ip, port), fromWeb);
}

/** HAProxy's serving worker, and its master. */
async function haproxyPids({ lb1, furiwake }: Stage): Promise<Readonly<Record<'worker' | 'master', number>>> {
  const { haproxy } = await furiwake.status();
  if (haproxy === undefined) throw new Error('HAProxy does not answer');
  const { stdout } = await lb1.exec(['sh', '-c', `cat ${haproxyFolder}/haproxy.pid`]);
  return { worker: haproxy.pid, master: Number(stdout) };
}

/** Waits until a worker other than this one serves. */
async function untilAnotherWorker(from: Stage, worker: number): Promise<void> {
  await eventually(async () => expect((await haproxyPids(from)).worker).not.toBe(worker));
}

describe.skipIf(!isRoot)('furiwake ends and starts again', () => {
  const stage = useStage({ flags: ['--addresses', '203.0.113.0/28'] });

  test.each(['SIGTERM', 'SIGKILL'] as const)(
    'after %s: traffic is not affected, addresses stay, and changes made meanwhile are applied',
    async (signal) => {
      const { services, client, furiwake } = stage();
      const ip = await served(stage(), 'stays');
      const changedIp = await served(stage(), 'changes');
      const goneIp = await served(stage(), 'goes', 81); // its address may pass to another Service at once
      await using traffic = await startTraffic(client, urlOf(ip));
      await (signal === 'SIGTERM' ? furiwake.stop() : furiwake.kill());
      await traffic.after(20);

      const uid = (await services.get('goes')).metadata.uid;
      await Promise.all([
        services.create('comes'),
        services.change('changes', { spec: { ports: [{ port: 8080, targetPort: 8080 }] } }),
        services.change('goes', { spec: { type: 'ClusterIP' } }),
      ]);
      await furiwake.start();
      const [comesIp = ''] = await services.published('comes');
      await answers(stage(), comesIp);
      await answers(stage(), changedIp, 8080);
      await eventually(async () => {
        const { metadata } = await services.get('goes');
        expect([metadata.uid, metadata.finalizers ?? []]).toEqual([uid, []]);
      });
      await eventually(async () => expect(await fetchFrom(client, urlOf(goneIp, 81), 1)).not.toMatch(/^web/));
      expect(await services.published('stays')).toEqual([ip]);
      expect(await services.published('changes')).toEqual([changedIp]);
      expect(await traffic.after(20)).toMatchObject({ failed: 0, broken: 0 });
    },
  );

  test('without the API server traffic flows, and changes made meanwhile are applied', async () => {
    const { lab, services, client, furiwake } = stage();
    const ip = await served(stage(), 'stays');
    await using traffic = await startTraffic(client, urlOf(ip));
    await stopApiServer(lab);
    const { asked } = traffic.totals();
    const goneAt = performance.now();
    await eventually(() => {
      expect(performance.now() - goneAt).toBeGreaterThan(leaseMs + 5_000);
      expect(traffic.totals().asked).toBeGreaterThan(asked + 200);
    }, 120_000);
    expect(traffic.totals()).toMatchObject({ failed: 0, broken: 0 });
    expect(furiwake.isRunning()).toBe(true);
    await startApiServer(lab);
    const comesIp = await served(stage(), 'comes');
    await answers(stage(), comesIp);
    await services.remove('comes');
    expect(await traffic.after(20)).toMatchObject({ failed: 0, broken: 0 });
  }, 400_000);

  test('after a reboot of the host with the API server unreachable, the Services are served as before', async () => {
    const { lab, services, lb1, furiwake } = stage();
    const ip = await served(stage(), 'restricted');
    await services.change('restricted', { spec: { loadBalancerSourceRanges: ['198.51.100.0/24', '192.0.2.0/25'] } });
    await stopApiServer(lab);
    const ended = furiwake.ended();
    await lb1.reboot();
    await ended;
    await furiwake.launch();
    await answers(stage(), ip);
    expect(await furiwake.logged('connecting to the API server failed; retrying')).toBeDefined();
    await startApiServer(lab);
    await furiwake.logged('connected to the cluster');
    expect(await services.published('restricted')).toEqual([ip]);
  });
});

describe.skipIf(!isRoot)('the state that furiwake programmed is destroyed', () => {
  const stage = useStage({ flags: ['--addresses', '203.0.113.0/28'] });

  test.each(['worker', 'master'] as const)('HAProxy’s %s is killed: it serves everything again', async (which) => {
    const { lb1, services } = stage();
    const ips = [await served(stage(), 'one'), await served(stage(), 'two')];
    const pids = await haproxyPids(stage());
    await lb1.exec(['kill', '-9', String(pids[which])]);
    const killedAt = performance.now();
    for (const ip of ips) await answers(stage(), ip);
    process.stdout.write(
      `HAProxy's ${which} killed: served again ${Math.round(performance.now() - killedAt)} ms later\n`,
    );
    await untilAnotherWorker(stage(), pids.worker);
    for (const ip of ips) await answers(stage(), ip);
    expect(await Promise.all(['one', 'two'].map((name) => services.published(name)))).toEqual(ips.map((ip) => [ip]));
  });

  test('HAProxy is killed after another furiwake took it over: it serves everything again', async () => {
    const { services, lb1, furiwake } = stage();
    const ip = await served(stage(), 'one');
    const pids = await haproxyPids(stage());
    await furiwake.kill();
    await furiwake.start();
    expect(await haproxyPids(stage())).toEqual(pids);
    expect(await furiwake.logged('took over the running HAProxy; connections preserved')).toBeDefined();
    await lb1.exec(['pkill', '-KILL', '-x', 'haproxy']);
    await untilAnotherWorker(stage(), pids.worker);
    await answers(stage(), ip);
    expect(await services.published('one')).toEqual([ip]);
  });

  test('HAProxy is killed while no furiwake runs: the next one starts it with everything', async () => {
    const { services, lb1, furiwake } = stage();
    const ip = await served(stage(), 'one');
    const pids = await haproxyPids(stage());
    await furiwake.stop();
    await lb1.exec(['pkill', '-KILL', '-x', 'haproxy']);
    await furiwake.start();
    await untilAnotherWorker(stage(), pids.worker);
    await answers(stage(), ip);
    expect(await services.published('one')).toEqual([ip]);
  });

  test('the nft ruleset is flushed, as by a reload of nftables: it is restored', async () => {
    const { services, client, lb1, furiwake } = stage();
    const ip = await served(stage(), 'one');
    await using traffic = await startTraffic(client, urlOf(ip), { perSecond: 0, held: 5 });
    await lb1.exec(['nft', 'flush', 'ruleset']);
    await eventually(
      async () => expect((await lb1.exec(['nft', 'list', 'ruleset'])).stdout).toContain('listeners4'),
      10_000,
    );
    await furiwake.logged('external change to nftables and routing rules detected and reverted');
    await answers(stage(), ip);
    expect(traffic.totals()).toMatchObject({ broken: 0, holding: 5 });
    await services.create('two', { spec: { selector: nobody } });
    await services.published('two');
    expect(furiwake.isRunning()).toBe(true);
  });
});
