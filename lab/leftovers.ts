import { readFile, rm, rmdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { LabError } from './errors.ts';
import { namesIn } from './machine/files.ts';
import { type ProcessRef, commandOf, isAlive, processesOfLab } from './machine/processes.ts';
import { killQuietly, run } from './machine/run.ts';
import { until } from './machine/until.ts';
import { labOf } from './network/wiring.ts';

/** The remains of a lab on the machine that were removed. */
export type Removed = {
  /** Program names, sorted, one for each process. */
  readonly processes: readonly string[];
  readonly namespaces: readonly string[];
  readonly mounts: readonly string[];
  readonly cgroups: readonly string[];
  /** The lab's folder, where there was one. */
  readonly folder: string | undefined;
};

type Found = {
  readonly processes: readonly ProcessRef[];
  readonly namespaces: readonly string[];
  readonly mounts: readonly string[];
  readonly cgroups: readonly string[];
  readonly hasFolder: boolean;
};

const namespaceFolder = '/run/netns';
/** Where a node's containerd has a folder for each container, named by its id. */
const taskFolder = 'containerd-state/io.containerd.runtime.v2.task/k8s.io';

/**
 * Removes everything of a lab from the machine, in any state, and verifies it.
 *
 * Processes are known by the mark in their environment and by the network they are in, never by name. Killing process 1
 * of a host ends its Pods and removes its mounts.
 *
 * @throws LabError `LEFTOVERS` if any part still exists.
 */
export async function removeLab(lab: string, folder: string, signal: AbortSignal): Promise<Removed> {
  const found = await findLeftovers(lab, folder);
  const names = await Promise.all(found.processes.map(({ pid }) => commandOf(pid)));
  await killAll(lab, folder, signal);
  if (found.namespaces.length > 0)
    await run(['ip', '-force', '-batch', '-'], {
      signal,
      stdin: found.namespaces.map((name) => `netns delete ${name}\n`).join(''),
    });
  for (const mount of (await findLeftovers(lab, folder)).mounts) await run(['umount', '--lazy', mount], { signal });
  for (const cgroup of found.cgroups) await removeCgroup(cgroup, signal);
  await rm(folder, { recursive: true, force: true });
  const left = await findLeftovers(lab, folder);
  const what = [
    ...left.processes.map(({ pid }) => `process ${pid}`),
    ...left.namespaces.map((name) => `network namespace ${name}`),
    ...left.mounts.map((mount) => `mount ${mount}`),
    ...found.cgroups.filter((cgroup) => left.cgroups.includes(cgroup)).map((cgroup) => `cgroup ${cgroup}`),
    ...(left.hasFolder ? [`folder ${folder}`] : []),
  ];
  if (what.length > 0) throw new LabError('LEFTOVERS', `lab ${lab} is down, but these are left: ${what.join(', ')}`);
  const { namespaces, mounts, cgroups, hasFolder } = found;
  return { processes: names.sort(), namespaces, mounts, cgroups, folder: hasFolder ? folder : undefined };
}

/** Names of all labs that have a network namespace on this machine. */
export async function labsWithNamespaces(): Promise<readonly string[]> {
  const labs = (await namesIn(namespaceFolder)).flatMap((name) => labOf(name) ?? []);
  return [...new Set(labs)];
}

async function findLeftovers(lab: string, folder: string): Promise<Found> {
  const namespaces = (await namesIn(namespaceFolder)).filter((name) => labOf(name) === lab);
  const networks = new Set(await Promise.all(namespaces.map(networkIn)));
  const mountLines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' '));
  const mountPoints = mountLines.map((fields) => fields[4] ?? '');
  return {
    processes: await processesOfLab(folder, networks),
    namespaces,
    mounts: mountPoints.filter((point) => point.startsWith(`${folder}/`)).toReversed(), // the innermost first
    cgroups: await cgroupsOf(folder, mountLines),
    hasFolder: await exists(folder),
  };
}

/** The cgroups that runc made for the lab's containers: `k8s.io/ID` in every hierarchy. */
async function cgroupsOf(folder: string, mountLines: readonly (readonly string[])[]): Promise<readonly string[]> {
  const hierarchies = mountLines
    .filter((fields) => /^cgroup2?$/.test(fields[fields.indexOf('-') + 1] ?? ''))
    .map((fields) => fields[4] ?? '');
  const hosts = await namesIn(path.join(folder, 'hosts'));
  const tasks = hosts.map((host) => namesIn(path.join(folder, 'hosts', host, taskFolder)));
  const ids = (await Promise.all(tasks)).flat();
  const candidates = hierarchies.flatMap((hierarchy) => ids.map((id) => path.join(hierarchy, 'k8s.io', id)));
  const isThere = await Promise.all(candidates.map(exists));
  return candidates.filter((_, index) => isThere[index]);
}

/**
 * Removes a cgroup without processes, and the folder of all Pods when it was the last. A container that has just ended
 * removes its own meanwhile.
 *
 * @throws LabError `TIMED_OUT` if it has processes for five seconds.
 */
export async function removeCgroup(cgroup: string, signal: AbortSignal): Promise<void> {
  const remove = async (): Promise<true> => {
    await rmdir(cgroup).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    });
    return true;
  };
  await until(`cgroup ${cgroup} to be empty`, remove, { signal, timeoutMs: 5_000, everyMs: 20 });
  await rmdir(path.dirname(cgroup)).catch(() => undefined); // another lab's Pods are in it
}

/** The processes that wait outside a host for a program inside: they end on their own, and only they can reap it. */
const waiters = new Set(['nsenter', 'unshare']);
const patienceMs = 3_000;

/**
 * Kills until no process of the lab runs; the next round finds processes that were being started meanwhile. Those that
 * wait for a program inside a host may first end on their own, so that no zombie keeps the host alive.
 */
async function killAll(lab: string, folder: string, signal: AbortSignal): Promise<void> {
  const started = performance.now();
  const seen = new Map<string, ProcessRef>();
  const round = async (): Promise<boolean> => {
    const { processes } = await findLeftovers(lab, folder);
    for (const ref of processes) {
      seen.set(`${ref.pid} ${ref.start}`, ref);
      const isPatient = performance.now() - started < patienceMs;
      if (!isPatient || !waiters.has(await commandOf(ref.pid))) killQuietly(ref.pid);
    }
    const alive = await Promise.all([...seen.values()].map(isAlive));
    return processes.length === 0 && !alive.includes(true);
  };
  await until('the processes to end', round, { signal, timeoutMs: 20_000, everyMs: 20 });
}

/** A network namespace as `/proc/PID/ns/net` shows it. */
async function networkIn(namespace: string): Promise<string> {
  return `net:[${(await stat(path.join(namespaceFolder, namespace))).ino}]`;
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}
