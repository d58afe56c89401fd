import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { imageNames } from '../lab/images/images.ts';
import type { Lab } from '../lab/lab.ts';
import { until } from '../lab/machine/until.ts';
import { checkRuns, type Part } from '../lab/network/part.ts';
import type { HostStatus } from '../src/daemon/host-status.ts';
import { type Furiwake, metricIn, readMemory } from './furiwake.ts';
import type { Creation, Order } from './hosts/create-services.ts';

/** Namespace of everything that the benchmarks create. */
export const namespace = 'bench';
/** Reserved for benchmarks (RFC 2544), with more addresses than any benchmark has Services. */
export const pool = '198.18.0.0/20';

const furiwakeFile = '/opt/furiwake/furiwake.js';
const metricsUrl = 'http://127.0.0.1:9470';

/** A lab with a ready echo Pod on each node, and the actions of the benchmarks in it. */
export type Cluster = {
  readonly lab: Lab;
  /** A new furiwake on lb1; disposing removes its Services and everything that it configured on the host. */
  readonly startFuriwake: () => Promise<LabFuriwake>;
  /** Runs a program of `hosts/` on a host; it prints JSON. */
  readonly ask: (host: string, program: string, args: readonly string[], timeoutMs?: number) => Promise<unknown>;
  /** Creates Services from the control plane's host and waits for their addresses. */
  readonly createServices: (order: Omit<Order, 'kubeconfig' | 'namespace'>) => Promise<readonly Creation[]>;
  readonly deleteServices: () => Promise<void>;
};

export type LabFuriwake = Omit<Furiwake, 'pid'> & {
  readonly status: () => Promise<HostStatus>;
  /** Kills it and starts another one; resolves when that is ready. */
  readonly restart: () => Promise<void>;
};

const echoPods = `apiVersion: v1
kind: Namespace
metadata: { name: ${namespace} }
---
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: echo, namespace: ${namespace} }
spec:
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: agnhost
          image: ${imageNames.agnhost}
          args: [netexec]
          readinessProbe: { httpGet: { path: /readyz, port: 8080 }, periodSeconds: 1 }
`;

/** Prepares the lab for measurements: Pods, the permissions of deploy/, a route to the pool. */
export async function prepareCluster(lab: Lab, bundle: string, signal: AbortSignal): Promise<Cluster> {
  await lab.apply(await readFile(path.join(import.meta.dirname, '..', 'deploy', 'furiwake.yaml'), 'utf8'));
  await lab.apply(echoPods);
  await lab.kubectl('rollout', 'status', 'daemonset/echo', '--namespace', namespace, '--timeout=90s');
  await lab.host('router').addRoutes(new Map([[pool, lab.host('lb1').ip4]]));
  const kubeconfig = await lab.serviceAccountKubeconfig('furiwake-system', 'furiwake');
  const run = async (name: string, program: string, args: readonly string[], timeoutMs = 120_000): Promise<string> => {
    const file = path.join(import.meta.dirname, 'hosts', program);
    return (await lab.host(name).exec([process.execPath, file, ...args], { signal, timeoutMs })).stdout;
  };
  const ask: Cluster['ask'] = async (...question) => JSON.parse(await run(...question)) as unknown;
  const deleteServices = async (): Promise<void> => {
    await run('cp', 'delete-services.ts', [lab.kubeconfig(), namespace]);
  };
  return {
    lab,
    ask,
    deleteServices,
    createServices: async (order) => {
      const whole: Order = { ...order, kubeconfig: lab.kubeconfig(), namespace };
      return (await ask('cp', 'create-services.ts', [JSON.stringify(whole)])) as readonly Creation[];
    },
    startFuriwake: async () => {
      const furiwake = await startOn(lab, { bundle, kubeconfig, signal });
      return {
        ...furiwake,
        [Symbol.asyncDispose]: async () => {
          await deleteServices();
          await furiwake[Symbol.asyncDispose]();
        },
      };
    },
  };
}

async function startOn(
  lab: Lab,
  { bundle, kubeconfig, signal }: { bundle: string; kubeconfig: string; signal: AbortSignal },
): Promise<LabFuriwake> {
  const lb1 = lab.host('lb1');
  const get = async (page: string): Promise<string> =>
    (await lb1.exec(['curl', '--silent', '--fail', '--max-time', '2', `${metricsUrl}/${page}`], { signal })).stdout;
  await lb1.exec(['install', '-D', bundle, furiwakeFile], { signal });
  const start = async (): Promise<Part> => {
    const started = await lb1.spawn('furiwake', [furiwakeFile, 'run', '--kubeconfig', kubeconfig, '--addresses', pool]);
    const isReady = async (): Promise<boolean> => {
      await checkRuns(lab.folder, started.name);
      return (await get('readyz')).startsWith('ok');
    };
    await until('furiwake to be ready', isReady, { signal });
    return started;
  };
  let part = await start();
  return {
    memory: () => readMemory(part.pid),
    restart: async () => {
      part.kill('SIGKILL');
      await part.ended(signal);
      part = await start();
    },
    metric: async (name) => metricIn(await get('metrics'), name),
    status: async () => {
      const { stdout } = await lb1.exec([furiwakeFile, 'status', '--output', 'json'], { signal });
      return JSON.parse(stdout) as HostStatus;
    },
    [Symbol.asyncDispose]: async () => {
      await lb1.stop('furiwake');
      await lb1.exec([furiwakeFile, 'cleanup']);
    },
  };
}
