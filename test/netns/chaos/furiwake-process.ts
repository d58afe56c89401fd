import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { askAdmin } from '../../../src/daemon/admin.ts';
import type { HostStatus } from '../../../src/daemon/host-status.ts';
import type { Box } from './lab.ts';

const program = fileURLToPath(new URL('../../../src/main/furiwake.ts', import.meta.url));
const skewedClock = new URL('skewed-clock.ts', import.meta.url).href;
const compiled = fileURLToPath(new URL('../../../node_modules/.cache/furiwake', import.meta.url));

/** By how many milliseconds the wall clock of furiwake is wrong. */
export const skewFileOf = (box: Pick<Box, 'folder'>): string => `${box.folder}/skew`;

/** What the kernel shows furiwake as the identifier of its boot, if it is there. */
export const bootIdFileOf = (box: Pick<Box, 'folder'>): string => `${box.folder}/boot-id`;

/** As its unit of systemd does. */
const restartMs = 2_000;

/** A line of the log, and when it was written. */
export type Line = { readonly atMs: number; readonly text: string };

/** `furiwake run` on a host of the lab: a process that can be killed. */
export type FuriwakeProcess = AsyncDisposable & {
  readonly stateDir: string;
  readonly kubeconfig: string;
  readonly log: readonly Line[];
  /** Its last words, each time that it ended by itself. */
  readonly ownEnds: readonly string[];
  readonly pid: number | undefined;
  start(): Promise<void>;
  /** Flags of the next start, in addition to those of each. */
  flags: readonly string[];
  /** Runs another command until it ends, at most for a minute; resolves with its exit code and what it wrote. */
  command(name: string, ...args: readonly string[]): Promise<{ readonly code: number | null; readonly text: string }>;
  signal(signal: NodeJS.Signals): void;
  /** Resolves when the process has ended. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  writeKubeconfig(text: string): Promise<void>;
  /** `undefined` without an answer. */
  status(): Promise<HostStatus | undefined>;
  /** Processor time of all processes so far, ms. */
  cpuMs(): Promise<number>;
};

export function makeFuriwake(
  box: Box,
  { flags, path }: { readonly flags: readonly string[]; readonly path: string },
  tell: (words: string) => void,
): FuriwakeProcess {
  const stateDir = `${box.folder}/state`;
  const kubeconfig = `${box.folder}/kubeconfig`;
  const log: Line[] = [];
  const ownEnds: string[] = [];
  let child: ChildProcess | undefined;
  let ended = Promise.resolve();
  let isToldToEnd = false;
  let cpuOfEnded = 0;
  let cpuOfThis = 0;

  const spawnInside = (...args: readonly string[]): ChildProcess => {
    const bootId = bootIdFileOf(box);
    const mount = `[ ! -e ${bootId} ] || mount --bind ${bootId} /proc/sys/kernel/random/boot_id`;
    const command = `hostname ${box.name}; ${mount}; exec "$@"`;
    const inside = [`--net=/run/netns/${box.namespace}`, 'unshare', '--uts', '--mount', 'sh', '-c', command, 'sh'];
    return spawn('nsenter', [...inside, process.execPath, '--import', skewedClock, program, ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: path, NODE_COMPILE_CACHE: compiled, CHAOS_SKEW_FILE: skewFileOf(box) },
    });
  };
  const furiwake: FuriwakeProcess = {
    flags,
    stateDir,
    kubeconfig,
    log,
    ownEnds,
    get pid() {
      return child?.pid;
    },
    start: async () => {
      await mkdir(box.folder, { recursive: true });
      const logged = ['--log-format', 'json', '--log-level', process.env['LOG_LEVEL'] ?? 'info'];
      const flagsOfEach = ['--kubeconfig', kubeconfig, '--state-dir', stateDir, ...logged];
      const started = spawnInside('run', ...flagsOfEach, ...furiwake.flags);
      let rest = '';
      started.stderr?.setEncoding('utf8').on('data', (text: string) => {
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
          ownEnds.push(`${box.name} ended by itself: ${log.at(-1)?.text}`);
          tell(`${box.name} furiwake ended by itself`);
          setTimeout(() => {
            if (!isToldToEnd && child === undefined) void furiwake.start();
          }, restartMs);
        });
      });
    },
    command: (name, ...args) => {
      const run = spawnInside(name, ...args);
      let text = '';
      run.stderr?.setEncoding('utf8').on('data', (more: string) => {
        text += more;
      });
      const deadline = setTimeout(() => run.kill('SIGKILL'), 60_000);
      return new Promise((resolve) => {
        run.once('close', (code) => {
          clearTimeout(deadline);
          resolve({ code, text });
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
