import path from 'node:path';
import type { Lab } from '../lab/lab.ts';
import type { Bench } from './bench.ts';
import { type LabFuriwake, namespace } from './cluster.ts';
import { startTraffic } from './steady-traffic.ts';

const count = 1_000;
const workers = 8;
const timeoutMs = 600_000;

/** Services are created and deleted; the connections of two others must not be affected. */
export const churn: Bench = {
  name: 'churn',
  title: `${count} Services created and deleted by ${workers} workers, beside 50 streams and 100 requests/s of others`,
  run: async ({ cluster, progress, signal }) => {
    const { lab, startFuriwake } = await cluster();
    await using furiwake = await startFuriwake();
    await using traffic = await startTraffic(lab, signal);
    const before = await countersOf(furiwake);
    using step = progress.step(`Creating and deleting ${count} Services`);
    for await (const gone of churning(lab, signal)) step.update(`${gone} of ${count}`);
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
  },
};

async function countersOf(furiwake: LabFuriwake): Promise<{ readonly reloads: number; readonly pid: number }> {
  const { haproxy } = await furiwake.status();
  return { reloads: await furiwake.metric('furiwake_reloads_total'), pid: haproxy?.pid ?? 0 };
}

/** Each second the number of Services that were created and deleted. */
function churning(lab: Lab, signal: AbortSignal): AsyncIterable<string> {
  const program = path.join(import.meta.dirname, 'hosts', 'churn-services.ts');
  const command = [process.execPath, program, lab.kubeconfig(), namespace, String(count), String(workers)];
  return lab.host('cp').lines(command, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
}
