import { readFile } from 'node:fs/promises';

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

/** Reads the Prometheus text format. */
export function metricIn(text: string, name: string): number {
  const pattern = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm');
  return [...text.matchAll(pattern)].reduce((sum, [, value]) => sum + Number(value), 0);
}
