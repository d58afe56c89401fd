import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { askAdmin } from '../../../src/daemon/admin.ts';
import type { HostStatus } from '../../../src/daemon/host-status.ts';
import type { Box } from './lab.ts';

const program = fileURLToPath(new URL('../../../src/main/furiwake.ts', import.meta.url));
const compiled = fileURLToPath(new URL('../../../node_modules/.cache/furiwake', import.meta.url));

/** As its unit of systemd does. */
const restartMs = 2_000;

/** A line of the log, and when it was written. */
export type Line = { readonly atMs: number; readonly text: string };

/** `furiwake run` on a host of the lab: a process that can be killed. */
export type FuriwakeProcess = AsyncDisposable & {
  readonly stateDir: string;
  readonly log: readonly Line[];
  readonly pid: number | undefined;
  start(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Resolves when the process has ended. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  writeKubeconfig(text: string): Promise<void>;
  /** `undefined` without an answer. */
  status(): Promise<HostStatus | undefined>;
  /** Processor time of all processes so far, ms. */
  cpuMs(): Promise<number>;
};

export function makeFuriwake(box: Box, flags: readonly string[], tell: (words: string) => void): FuriwakeProcess {
  const stateDir = `${box.folder}/state`;
  const kubeconfig = `${box.folder}/kubeconfig`;
  const log: Line[] = [];
  let child: ChildProcess | undefined;
  let ended = Promise.resolve();
  let isToldToEnd = false;
  let cpuOfEnded = 0;
  let cpuOfThis = 0;

  const furiwake: FuriwakeProcess = {
    stateDir,
    log,
    get pid() {
      return child?.pid;
    },
    start: async () => {
      await mkdir(box.folder, { recursive: true });
      const args = ['run', '--kubeconfig', kubeconfig, '--state-dir', stateDir, '--log-format', 'json', ...flags];
      const command = `hostname ${box.name} && exec "$@"`;
      const started = spawn(
        'nsenter',
        [
          `--net=/run/netns/${box.namespace}`,
          'unshare',
          '--uts',
          'sh',
          '-c',
          command,
          'sh',
          process.execPath,
          program,
          ...args,
        ],
        { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: compiled } },
      );
      let rest = '';
      started.stderr.setEncoding('utf8').on('data', (text: string) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          log.push({ atMs: performance.now(), text: line });
          tell(`${box.name} | ${line}`);
        }
      });
      child = started;
      isToldToEnd = false;
      ended = new Promise((resolve) => {
        started.once('exit', () => {
          cpuOfEnded += cpuOfThis;
          cpuOfThis = 0;
          if (child === started) child = undefined;
          resolve();
          if (isToldToEnd) return;
          tell(`${box.name} furiwake ended by itself`);
          setTimeout(() => {
            if (!isToldToEnd && child === undefined) void furiwake.start();
          }, restartMs);
        });
      });
    },
    signal: (signal) => void child?.kill(signal),
    end: async (signal) => {
      isToldToEnd = true;
      child?.kill(signal);
      child?.kill('SIGCONT');
      await ended;
    },
    writeKubeconfig: async (text) => {
      await mkdir(box.folder, { recursive: true });
      await writeFile(kubeconfig, text);
    },
    status: async () => {
      const answer = askAdmin(`${stateDir}/admin.sock`, 'GET', '/status', '', AbortSignal.timeout(3_000));
      const text = await answer.catch(() => undefined);
      return text === undefined ? undefined : (JSON.parse(text) as HostStatus);
    },
    cpuMs: async () => {
      const stat = await readFile(`/proc/${child?.pid ?? 0}/stat`, 'utf8').catch(() => '');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (fields.length > 13) cpuOfThis = (Number(fields[11]) + Number(fields[12])) * 10;
      return cpuOfEnded + cpuOfThis;
    },
    [Symbol.asyncDispose]: () => furiwake.end('SIGKILL'),
  };
  return furiwake;
}
