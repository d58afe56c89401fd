import { readdir, readFile } from 'node:fs/promises';

/** The measured furiwake: the bundle, running on this machine. */
export type Furiwake = AsyncDisposable & {
  readonly pid: number;
  readonly memory: () => Promise<Memory>;
  /** Sum of a metric over its labels; 0 if it does not exist. */
  readonly metric: (name: string) => Promise<number>;
};

/** Resident memory of a process (10⁶ bytes): now, and its peak. */
export type Memory = { readonly residentMb: number; readonly peakMb: number };

export async function readMemory(pid: number): Promise<Memory> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const megabytes = (field: string): number => {
    const kib = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    if (kib === undefined) throw new Error(`process ${pid} has ended`);
    return (Number(kib) * 1024) / 1e6;
  };
  return { residentMb: megabytes('VmRSS'), peakMb: megabytes('VmHWM') };
}

/** Processor time (ms) that all threads of a process have used. */
export async function readCpuMs(pid: number): Promise<number> {
  const tasks = await readdir(`/proc/${pid}/task`);
  const times = tasks.map(async (task) => {
    const [nanoseconds = ''] = (await readFile(`/proc/${pid}/task/${task}/schedstat`, 'utf8')).split(' ');
    return Number(nanoseconds) / 1e6;
  });
  return (await Promise.all(times)).reduce((sum, time) => sum + time, 0);
}

/** Processor time (ms, in steps of 10) of the programs that a process has started, and that have ended. */
export async function readChildrenCpuMs(pid: number): Promise<number> {
  const [, fields = ''] = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ');
  const [user = '', system = ''] = fields.split(' ').slice(13, 15);
  return (Number(user) + Number(system)) * 10;
}

/** Reads the Prometheus text format. */
export function metricIn(text: string, name: string): number {
  const pattern = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm');
  return [...text.matchAll(pattern)].reduce((sum, [, value]) => sum + Number(value), 0);
}
