import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, open, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate as immediately } from 'node:timers/promises';
import { LabError } from '../errors.ts';
import { namesIn, readIfThere } from '../machine/files.ts';
import { type ProcessRef, childOf, isAlive, processOf } from '../machine/processes.ts';
import { killQuietly } from '../machine/run.ts';
import { until } from '../machine/until.ts';

/** How to start a background program, kept in the lab's folder so that another process can stop and start it. */
export type PartRecord = {
  readonly name: string;
  readonly host: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** The last process that ran it; `undefined` if it was stopped. */
  readonly process: ProcessRef | undefined;
};

/** A background program on a host. */
export type Part = {
  readonly name: string;
  /** Contains its standard output and error; kept when it starts again. */
  readonly logPath: string;
  /** The program's process ID on the machine; 0 if it ended at once. */
  readonly pid: number;
  /** Resolves when it has ended, with its exit code or the name of the signal that ended it. */
  ended(signal?: AbortSignal): Promise<number | NodeJS.Signals>;
  /** Sends a signal to the program itself. */
  kill(signal: NodeJS.Signals): void;
};

export function logPathOf(folder: string, part: string): string {
  return path.join(folder, 'log', `${part}.log`);
}

function recordPath(folder: string, part: string): string {
  return path.join(folder, 'parts', `${part}.json`);
}

/** Starts a program in the background; its record replaces one of the same name. */
export async function startPart(
  folder: string,
  record: Omit<PartRecord, 'process'>,
  command: readonly string[],
): Promise<Part> {
  await Promise.all(['log', 'parts'].map((sub) => mkdir(path.join(folder, sub), { recursive: true })));
  const logPath = logPathOf(folder, record.name);
  await using log = await open(logPath, 'a');
  const [file = '', ...args] = command;
  // A new group: the terminal's Ctrl-C must reach only this process, and the program outlives it if the lab is kept.
  const child = spawn(file, args, { detached: true, stdio: ['ignore', log.fd, log.fd], env: record.env });
  child.unref();
  const exited = exitOf(child);
  const outer = await spawned(child);
  await writeRecord(folder, { ...record, process: (await processOf(outer)) ?? { pid: outer, start: '' } });
  const pid = await programOf(outer);
  return {
    name: record.name,
    logPath,
    pid,
    ended: async (signal) => {
      child.ref(); // this process stays alive while a caller waits
      try {
        return await (signal === undefined ? exited : Promise.race([exited, abortOf(signal)]));
      } finally {
        child.unref();
      }
    },
    kill: (signal) => {
      // While nsenter waits for it, its process ID cannot be reused.
      if (child.exitCode === null && child.signalCode === null) killQuietly(pid, signal);
    },
  };
}

/** Ends a program: TERM, and KILL after `graceMs`. */
export async function stopPart(
  folder: string,
  name: string,
  signal: AbortSignal,
  graceMs = 10_000,
): Promise<PartRecord> {
  const record = await readRecord(folder, name);
  const { process } = record;
  if (process !== undefined && (await isAlive(process))) {
    // The process is `nsenter`, waiting for the program in the host: the program gets the signal, nsenter follows.
    killQuietly((await childOf(process.pid)) ?? process.pid, 'SIGTERM');
    const gone = async (): Promise<boolean> => !(await isAlive(process));
    await until(`${name} to end`, gone, { signal, timeoutMs: graceMs }).catch(async (error: unknown) => {
      signal.throwIfAborted();
      if (!(error instanceof LabError)) throw error;
      killQuietly((await childOf(process.pid)) ?? process.pid);
      await until(`${name} to end after SIGKILL`, gone, { signal });
    });
  }
  await writeRecord(folder, { ...record, process: undefined });
  return record;
}

/** Names of all parts that a lab has ever started, sorted. */
export async function partNames(folder: string): Promise<readonly string[]> {
  const files = await namesIn(path.join(folder, 'parts'));
  return files
    .filter((file) => file.endsWith('.json'))
    .map((file) => path.basename(file, '.json'))
    .sort();
}

/** @throws LabError `NO_SUCH_PART` */
export async function readRecord(folder: string, name: string): Promise<PartRecord> {
  const text = await readIfThere(recordPath(folder, name));
  if (text !== undefined) return JSON.parse(text) as PartRecord;
  throw new LabError('NO_SUCH_PART', `this lab has no part ${JSON.stringify(name)}`);
}

/** @throws LabError `PART_ENDED`, with the end of its log, if a part does not run. */
export async function checkRuns(folder: string, name: string): Promise<void> {
  const { process } = await readRecord(folder, name);
  if (process !== undefined && (await isAlive(process))) return;
  const log = await readFile(logPathOf(folder, name), 'utf8');
  throw new LabError(
    'PART_ENDED',
    `${name} does not run; the end of its log:\n${log.split('\n').slice(-5).join('\n')}`,
  );
}

async function writeRecord(folder: string, record: PartRecord): Promise<void> {
  const target = recordPath(folder, record.name);
  await writeFile(`${target}.new`, `${JSON.stringify(record)}\n`);
  await rename(`${target}.new`, target);
}

function spawned(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject).once('spawn', () => resolve(child.pid ?? 0));
  });
}

/** The program that `nsenter` (process `outer`) runs in the host: its child, as soon as there is one. */
async function programOf(outer: number): Promise<number> {
  for (;;) {
    const child = await childOf(outer);
    if (child !== undefined) return child;
    if ((await processOf(outer)) === undefined) return 0;
    await immediately();
  }
}

function abortOf(signal: AbortSignal): Promise<never> {
  signal.throwIfAborted();
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function exitOf(child: ChildProcess): Promise<number | NodeJS.Signals> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'SIGKILL'));
  });
}
