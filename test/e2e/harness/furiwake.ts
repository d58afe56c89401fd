import { readFile } from 'node:fs/promises';
import { expect } from 'vitest';
import type { Lab } from '../../../lab/lab.ts';
import type { Host } from '../../../lab/network/host.ts';
import type { Part } from '../../../lab/network/part.ts';
import type { HostStatus } from '../../../src/daemon/host-status.ts';
import { ExecError } from '../../../src/ports/exec.ts';
import { eventually } from './eventually.ts';
import { bundleOf, kubeconfigOf } from './names.ts';

/** A line of furiwake's log. */
export type LogLine = { readonly level: string; readonly msg: string } & Readonly<Record<string, unknown>>;
/** The result of a command of furiwake; `said` is its standard output, or its standard error if there is any. */
export type Ended = { readonly code: number | undefined; readonly said: string };

/** The bundled furiwake on a load-balancer host, with the permissions of `deploy/`; disposing kills it. */
export type Furiwake = AsyncDisposable & {
  /** Starts `furiwake run` without waiting. */
  launch(): Promise<void>;
  /** The same; resolves when it is ready. */
  start(): Promise<void>;
  /** Sends TERM and waits for the end. */
  stop(): Promise<void>;
  /** KILL. */
  kill(): Promise<void>;
  /** Resolves with the exit code, or the signal's name, when it has ended. */
  ended(): Promise<number | NodeJS.Signals>;
  isRunning(): boolean;
  /** The output of `furiwake status`. */
  status(): Promise<HostStatus>;
  /** Runs another command on its host to its end. */
  command(args: readonly string[]): Promise<Ended>;
  /** The complete log so far, of all starts. */
  log(): Promise<readonly LogLine[]>;
  /** The first line since the last start that contains this text, as soon as there is one. */
  logged(text: string): Promise<LogLine>;
};

export type FuriwakeOptions = {
  /** Default lb1. */
  readonly host?: Host;
  readonly flags?: readonly string[];
};

/** The state directory of each furiwake: every host has its own /var/lib. */
export const stateDir = '/var/lib/furiwake';

/** HAProxy's files, as a pattern for a shell: every host has its own /run, and one network namespace. */
export const haproxyFolder = '/run/furiwake/net-*/haproxy';

const readyUrl = 'http://127.0.0.1:9470/readyz';

export function makeFuriwake(lab: Lab, { host = lab.host('lb1'), flags = [] }: FuriwakeOptions = {}): Furiwake {
  const program = [process.execPath, bundleOf(lab)];
  let part: Part | undefined;
  let exit: Promise<number | NodeJS.Signals> | undefined;
  let logStart = 0;

  const readLog = async (): Promise<string> => (part === undefined ? '' : readFile(part.logPath, 'utf8'));

  const launch = async (): Promise<void> => {
    if (exit !== undefined) throw new Error('furiwake runs already');
    logStart = (await readLog()).length;
    const log = ['--log-format', 'json', '--log-level', 'debug'];
    part = await host.spawn('furiwake', [...program, 'run', '--kubeconfig', kubeconfigOf(lab), ...log, ...flags]);
    exit = part.ended().finally(() => {
      exit = undefined;
    });
  };

  const ended = async (): Promise<number | NodeJS.Signals> => {
    if (exit === undefined) throw new Error('furiwake does not run');
    return exit;
  };

  const end = async (signal: NodeJS.Signals): Promise<number | NodeJS.Signals> => {
    part?.kill(signal);
    return ended();
  };

  const kill = async (): Promise<void> => {
    await end('SIGKILL');
  };

  const command: Furiwake['command'] = async (args) => {
    try {
      const { stdout, stderr } = await host.exec([...program, ...args]);
      return { code: 0, said: stderr || stdout };
    } catch (error) {
      if (!(error instanceof ExecError)) throw error;
      return { code: error.exitCode, said: error.stderr };
    }
  };

  return {
    launch,
    start: async () => {
      await launch();
      const isReady = async (): Promise<void> => {
        await host.exec(['curl', '--silent', '--fail', '--max-time', '2', readyUrl]);
      };
      await Promise.race([eventually(isReady), failsIfEnded(ended(), readLog)]);
    },
    stop: async () => {
      expect(await end('SIGTERM'), 'exit code of furiwake after SIGTERM').toBe(0);
    },
    kill,
    [Symbol.asyncDispose]: async () => {
      if (exit !== undefined) await kill();
    },
    ended,
    isRunning: () => exit !== undefined,
    status: async () => {
      const { stdout } = await host.exec([...program, 'status', '--output', 'json']);
      return JSON.parse(stdout) as HostStatus;
    },
    command,
    log: async () => linesOf(await readLog()),
    logged: (text) =>
      eventually(async () => {
        const found = linesOf((await readLog()).slice(logStart)).find((line) => JSON.stringify(line).includes(text));
        if (found !== undefined) return found;
        throw new Error(`furiwake has not logged ${JSON.stringify(text)}`);
      }),
  };
}

async function failsIfEnded(end: Promise<number | NodeJS.Signals>, readLog: () => Promise<string>): Promise<never> {
  const code = await end;
  throw new Error(`furiwake ended (${code}):\n${(await readLog()).split('\n').slice(-5).join('\n')}`);
}

/** Complete lines of JSON; other text (its last line before an exit) becomes a line with that text. */
function linesOf(text: string): readonly LogLine[] {
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (line.startsWith('{') ? (JSON.parse(line) as LogLine) : { level: 'error', msg: line }));
}
