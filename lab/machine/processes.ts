import { readFile, readdir, readlink } from 'node:fs/promises';

/** A process, distinguished from a later one with the same ID: `start` is its start time in clock ticks. */
export type ProcessRef = { readonly pid: number; readonly start: string };

/** The running process `pid`, if it runs (a zombie does not). */
export async function processOf(pid: number): Promise<ProcessRef | undefined> {
  const stat = await procFile(pid, 'stat');
  // The second field is the program's name in brackets, which may itself contain blanks and brackets: proc(5).
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields === undefined || fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return { pid, start: fields[19] ?? '' };
}

/** Whether that process still runs. */
export async function isAlive(process: ProcessRef): Promise<boolean> {
  return (await processOf(process.pid))?.start === process.start;
}

/** The first child of `pid`: what `nsenter --pid` or `unshare --fork` runs. */
export async function childOf(pid: number): Promise<number | undefined> {
  const children = await procFile(pid, `task/${pid}/children`);
  const first = Number(children?.split(' ')[0]);
  return first > 0 ? first : undefined;
}

/** Name of the program that `pid` runs, at most 15 characters. */
export async function commandOf(pid: number): Promise<string> {
  return (await procFile(pid, 'comm'))?.trim() ?? '?';
}

/** The variable in the environment of every process of a lab: the lab's folder. */
export const labVariable = 'LAB_FOLDER';

/** All processes with the mark of the lab in `folder` in their environment, or in one of its networks. */
export async function processesOfLab(folder: string, networks: ReadonlySet<string>): Promise<readonly ProcessRef[]> {
  const mark = `${labVariable}=${folder}`;
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(
    pids.map(async (pid) => {
      if (pid === process.pid) return undefined;
      const environment = await procFile(pid, 'environ');
      const isOurs = environment?.split('\0').includes(mark) || networks.has(await networkOf(pid));
      return isOurs ? processOf(pid) : undefined;
    }),
  );
  return found.filter((ref) => ref !== undefined);
}

/** The network namespace of `pid` as the kernel writes it: `net:[4026531840]`. */
async function networkOf(pid: number): Promise<string> {
  try {
    return await readlink(`/proc/${pid}/ns/net`);
  } catch {
    return ''; // it has ended, or belongs to another user
  }
}

async function procFile(pid: number, name: string): Promise<string | undefined> {
  try {
    return await readFile(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return undefined; // it has ended, or belongs to another user
  }
}
