import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from '../lab/lab.ts';
import type { Bench, Context, Figure } from './bench.ts';
import { type ClientProgram, startOnClient } from './client-program.ts';
import { type Cluster, type LabFuriwake, namespace } from './cluster.ts';
import { featureKinds } from './feature-kinds.ts';
import type { ChurnOrder } from './hosts/churn-services.ts';
import type { FlowsResult } from './hosts/flows.ts';
import { startTraffic } from './steady-traffic.ts';

const count = 1_000;
const workers = 8;
const timeoutMs = 600_000;

/** Services are created and deleted; the connections of two others must not be affected. */
export const churn: Bench = {
  name: 'churn',
  title: `${count} Services created and deleted by ${workers} workers, beside 50 streams and 100 requests/s of others`,
  run: async (context) => {
    const site = await context.cluster();
    await using furiwake = await site.startFuriwake();
    return await measure(context, { site, furiwake, kinds: [{}] });
  },
};

/** The same with Services that use every feature, of which there is one each before, so that the profiles are known. */
export const featureChurn: Bench = {
  name: 'feature-churn',
  title: `${count} Services with every feature created and deleted, beside the same and 100 flows of direct`,
  run: async (context) => {
    const { progress, signal } = context;
    const site = await context.cluster();
    await using furiwake = await site.startFuriwake();
    {
      using step = progress.step('Creating a Service of each kind');
      const services = featureKinds.map((kind, index) => ({ name: `kind-${index}`, ...kind }));
      await site.createServices({ services, workers });
      await sleep(2_000, undefined, { signal }); // reloads for profiles
      step.done();
    }
    await using flows = await startDirectFlows(site, signal);
    const figures = await measure(context, { site, furiwake, kinds: featureKinds });
    const { flows: all, moved, broken } = await flows.stop();
    return [
      ...figures,
      { what: 'flows of direct', value: all, unit: '' },
      { what: 'flows of direct that moved', value: moved, unit: '', target: { atMost: 0 } },
      { what: 'flows of direct that broke', value: broken, unit: '', target: { atMost: 0 } },
    ];
  },
};

async function measure(
  { progress, signal }: Context,
  { site: { lab }, furiwake, kinds }: { site: Cluster; furiwake: LabFuriwake; kinds: ChurnOrder['kinds'] },
): Promise<readonly Figure[]> {
  await using traffic = await startTraffic(lab, signal);
  const before = await countersOf(furiwake);
  using step = progress.step(`Creating and deleting ${count} Services`);
  for await (const gone of churning(lab, kinds, signal)) step.update(`${gone} of ${count}`);
  step.done();
  const after = await countersOf(furiwake);
  const met = await traffic.stop();
  for (const why of new Set([...met.failures, ...met.broken])) progress.say(`  ${why}`);
  return [
    { what: 'requests', value: met.requests, unit: '' },
    { what: 'requests that failed', value: met.failures.length, unit: '', target: { atMost: 0 } },
    { what: 'lines streamed', value: met.lines, unit: '' },
    { what: 'streams that broke', value: met.broken.length, unit: '', target: { atMost: 0 } },
    { what: 'reloads of HAProxy', value: after.reloads - before.reloads, unit: '', target: { atMost: 0 } },
    { what: 'restarts of HAProxy', value: after.pid === before.pid ? 0 : 1, unit: '', target: { atMost: 0 } },
  ];
}

async function countersOf(furiwake: LabFuriwake): Promise<{ readonly reloads: number; readonly pid: number }> {
  const { haproxy } = await furiwake.status();
  return { reloads: await furiwake.metric('furiwake_reloads_total'), pid: haproxy?.pid ?? 0 };
}

/** Each second the number of Services that were created and deleted. */
function churning(lab: Lab, kinds: ChurnOrder['kinds'], signal: AbortSignal): AsyncIterable<string> {
  const program = path.join(import.meta.dirname, 'hosts', 'churn-services.ts');
  const order: ChurnOrder = { kubeconfig: lab.kubeconfig(), namespace, count, workers, kinds };
  const command = [process.execPath, program, JSON.stringify(order)];
  return lab.host('cp').lines(command, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
}

async function startDirectFlows(
  { lab, createServices }: Cluster,
  signal: AbortSignal,
): Promise<ClientProgram<FlowsResult>> {
  const address = '198.18.8.3';
  const ports = [
    { name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' },
    { name: 'dns', port: 53, targetPort: 8081, protocol: 'UDP' },
  ];
  const annotations = { 'furiwake.dev/dataplane': 'direct' };
  await createServices({
    services: [{ name: 'flows', address, annotations, spec: { externalTrafficPolicy: 'Local', ports } }],
    workers: 1,
  });
  await sleep(5_000, undefined, { signal }); // both nodes are open
  return startOnClient(lab, 'flows', [address, '80', '80', '53', '20'], signal);
}
