import { existsSync } from 'node:fs';
import { readFile, readdir, readlink, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { killQuietly } from '../../lab/machine/run.ts';
import { until } from '../../lab/machine/until.ts';
import { systemExec } from '../../src/main/node/exec.ts';

const never = new AbortController().signal;

/** A network namespace or temporary folder with a name `fwtPID-…` belongs to the lab of that process. */
const namePattern = /^fwt(\d+)-\S+/;

/** The prefix of all names that this process creates. */
export const ownPrefix: string = `fwt${process.pid}-`;

/** Deletes network namespaces, after all processes inside: a daemon outlives it, and a master restarts its worker. */
export async function removeNamespaces(namespaces: readonly string[]): Promise<void> {
  const areEmpty = async (): Promise<boolean> => {
    const inside = await processesIn(namespaces);
    for (const pid of inside) killQuietly(pid);
    return inside.length === 0;
  };
  await until(`${namespaces.join(', ')} to be empty`, areEmpty, { signal: never, everyMs: 10 });
  const present = namespaces.filter(isThere); // another run may also remove them
  if (present.length === 0) return;
  const stdin = present.map((namespace) => `netns delete ${namespace}\n`).join('');
  await systemExec.run('ip', ['-force', '-batch', '-'], { stdin, signal: never }).catch((error: unknown) => {
    if (present.some(isThere)) throw error;
  });
}

const isThere = (namespace: string): boolean => existsSync(`/run/netns/${namespace}`);

/** All processes of the machine that are in one of these network namespaces. */
async function processesIn(namespaces: readonly string[]): Promise<readonly number[]> {
  const ids = await Promise.all(
    namespaces.map((namespace) =>
      stat(`/run/netns/${namespace}`).then(
        ({ ino }) => `net:[${ino}]`,
        () => '',
      ),
    ),
  );
  const wanted = new Set(ids.filter((id) => id !== ''));
  if (wanted.size === 0) return [];
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => wanted.has(await readlink(`/proc/${pid}/ns/net`).catch(() => ''))), // it has ended
  );
  return pids.filter((_, index) => found[index]).map(Number);
}

/** Removes the remains of the labs of dead processes: daemons, namespaces, folders. */
export async function removeOrphans(): Promise<void> {
  const { namespaces, folders } = await findLabs();
  await removeNamespaces([...namespaces].flatMap(([namespace, owner]) => (isAlive(owner) ? [] : [namespace])));
  for (const [folder, owner] of folders) {
    if (!isAlive(owner)) await removeFolder(path.join(tmpdir(), folder));
  }
}

/** With the file systems that a test has mounted in it. */
async function removeFolder(folder: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
  for (const mount of mounts.filter((each) => each.startsWith(`${folder}/`)))
    await systemExec.run('umount', ['--lazy', mount], { signal: never }).catch(() => undefined); // another run may do it, too
  await rm(folder, { recursive: true, force: true });
}

/**
 * Removes the remains of this process's children after they have ended; kills those that have a lab and do not end
 * within `graceMs`.
 */
export async function removeLabsOfChildren(graceMs: number): Promise<void> {
  const startedAt = performance.now();
  const noneHasLabs = async (): Promise<boolean> => {
    const { namespaces, folders } = await findLabs();
    const owners = new Set([...namespaces.values(), ...folders.values()]);
    const parents = await Promise.all([...owners].map(parentOf));
    const own = [...owners].filter((_, index) => parents[index] === process.pid);
    if (performance.now() - startedAt >= graceMs) own.forEach((pid) => killQuietly(pid));
    return own.length === 0;
  };
  await until('the workers to end', noneHasLabs, { signal: never, timeoutMs: graceMs + 10_000 });
  await removeOrphans();
}

type Owned = ReadonlyMap<string, number>;

/** Namespaces and folders of labs, each with its owner. */
async function findLabs(): Promise<{ readonly namespaces: Owned; readonly folders: Owned }> {
  const namespaces = await readdir('/run/netns').catch(() => []); // there was never one
  return { namespaces: ownersOf(namespaces), folders: ownersOf(await readdir(tmpdir())) };
}

function ownersOf(lines: readonly string[]): Owned {
  return new Map(
    lines
      .map((line) => namePattern.exec(line))
      .filter((match) => match !== null)
      .map(([name, owner]) => [name, Number(owner)]),
  );
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false; // ESRCH
  }
}

async function parentOf(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''); // it has ended
  return /^State:\tZ/m.test(status) ? undefined : Number(/^PPid:\t(\d+)$/m.exec(status)?.[1]);
}
