import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { killQuietly } from '../../lab/machine/run.ts';
import { until } from '../../lab/machine/until.ts';

const run = promisify(execFile);
const never = new AbortController().signal;

/** A network namespace or temporary folder with a name `fwtPID-…` belongs to the lab of that process. */
const namePattern = /^fwt(\d+)-\S+/;

/** The prefix of all names that this process creates. */
export const ownPrefix: string = `fwt${process.pid}-`;

/** Deletes a network namespace, after all processes inside: a daemon outlives it, and a master restarts its worker. */
export async function removeNamespace(namespace: string): Promise<void> {
  const isThere = (): boolean => existsSync(`/run/netns/${namespace}`); // another run may also remove it
  const isEmpty = async (): Promise<boolean> => {
    if (!isThere()) return true;
    const { stdout } = await run('ip', ['netns', 'pids', namespace]);
    const pids = stdout.split('\n').filter((pid) => pid !== '');
    for (const pid of pids) killQuietly(Number(pid));
    return pids.length === 0;
  };
  await until(`${namespace} to be empty`, isEmpty, { signal: never, everyMs: 10 });
  await run('ip', ['netns', 'del', namespace]).catch((error: unknown) => {
    if (isThere()) throw error;
  });
}

/** Removes the remains of the labs of dead processes: daemons, namespaces, folders. */
export async function removeOrphans(): Promise<void> {
  const { namespaces, folders } = await findLabs();
  for (const [namespace, owner] of namespaces) if (!isAlive(owner)) await removeNamespace(namespace);
  for (const [folder, owner] of folders) {
    if (!isAlive(owner)) await rm(path.join(tmpdir(), folder), { recursive: true, force: true });
  }
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
  const { stdout } = await run('ip', ['netns', 'list']);
  return { namespaces: ownersOf(stdout.split('\n')), folders: ownersOf(await readdir(tmpdir())) };
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
