import { execFile } from 'node:child_process';
import { copyFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { TestProject } from 'vitest/node';
import { until } from '../../../lab/machine/until.ts';
import { type StartedLab, startLab } from '../../../lab/start.ts';
import { onInterrupt } from '../../interrupt.ts';
import { makeCluster } from './cluster.ts';
import { account, bundleOf, labOfWorker, pods } from './names.ts';
import { backends, isReady, type Pod } from './backends.ts';

const root = path.join(import.meta.dirname, '..', '..', '..');

/**
 * A lab for each worker, started before the first file and removed after the last: the bundle of `make dist`, `deploy/`
 * applied, Pods that answer. `KEEP=1` leaves them running (`npm run lab -- … --name e2e`, `e2ew2`).
 */
export default async function setUp(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  if (process.getuid?.() !== 0) return undefined; // the tests report that they are skipped
  await promisify(execFile)(process.execPath, ['tools/build.ts'], { cwd: root });
  const ending = new AbortController();
  const { signal } = ending;
  const starting = workersOf(project).map((worker) => startFurnished(labOfWorker(worker), signal));
  let end: Promise<void> | undefined;
  const tearDown = (): Promise<void> => (end ??= takeDown(starting, signal));
  onInterrupt(project, async (why) => {
    ending.abort(new Error(`ended by ${why}`));
    await tearDown();
  });
  try {
    await Promise.all(starting);
  } catch (error) {
    ending.abort(error);
    await tearDown();
    throw error;
  }
  return tearDown;
}

/** The numbers of the workers that this run has: at most one for each file. */
function workersOf({ config, vitest }: TestProject): readonly number[] {
  const count = Math.min(config.maxWorkers, vitest.state.getPaths().length);
  return Array.from({ length: count }, (_, index) => index + 1);
}

async function startFurnished(name: string, signal: AbortSignal): Promise<StartedLab> {
  const auditUsers = [`system:serviceaccount:${account.namespace}:${account.name}`];
  const lab = await startLab({ name, loadBalancers: 2, auditUsers, signal });
  try {
    await furnish(lab, signal);
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    throw error;
  }
  return lab;
}

async function takeDown(starting: readonly Promise<StartedLab>[], signal: AbortSignal): Promise<void> {
  const started = await Promise.allSettled(starting); // a failed start leaves no trace
  const labs = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  if (process.env['KEEP'] === '1' && !signal.aborted) for (const lab of labs) lab.keep();
  await Promise.all(labs.map((lab) => lab[Symbol.asyncDispose]()));
}

async function furnish(lab: StartedLab, signal: AbortSignal): Promise<void> {
  // A copy, because another process may build while the tests run.
  await copyFile(path.join(root, 'dist', 'furiwake.js'), bundleOf(lab));
  await lab.apply(await readFile(path.join(root, 'deploy', 'furiwake.yaml'), 'utf8'));
  await lab.serviceAccountKubeconfig(account.namespace, account.name);
  // A new namespace has no ServiceAccount yet, and without one no Pod is admitted.
  await until('the Pods to be accepted', async () => lab.apply(backends), { signal, everyMs: 100 });
  const cluster = await makeCluster(lab);
  const areReady = async (): Promise<boolean> => {
    const { items } = await cluster.get<{ readonly items: readonly Pod[] }>(pods);
    return items.every(isReady);
  };
  await until('the Pods to be ready', areReady, { signal, timeoutMs: 60_000, everyMs: 100 });
}
