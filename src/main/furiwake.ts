import './node/version.ts';
import { end, signals } from './node/first-signals.ts';
import './node/heap.ts';
import './node/threads.ts';
import { randomUUID } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import packageFile from '../../package.json' with { type: 'json' };
import { unlessAborted } from '../async/abort.ts';
import { assertNever } from '../core/assert-never.ts';
import { systemWords } from '../async/error-words.ts';
import type { CommandDeps, Platform } from '../daemon/platform.ts';
import type { Log } from '../ports/log.ts';
import { check } from '../cli/check.ts';
import { makeConnect } from '../cli/check/connection.ts';
import { hasColour } from '../cli/paint.ts';
import { type KubeProxy, makeKubeProxy } from '../health/kube-proxy-sync.ts';
import { makeProbe } from '../health/probe.ts';
import { cleanup } from './cleanup.ts';
import type { LogOptions } from '../cli/options.ts';
import { type Invocation, readCommandLine } from '../cli/program.ts';
import { run } from './run.ts';
import type { TextScreen } from '../cli/screen.ts';
import { showConnections } from '../cli/connections.ts';
import { askStatus, changeDrain, formatAnswer, type StatusRequest } from '../cli/status.ts';
import { watchStatus } from '../cli/watch.ts';
import { endFor, isToldToEnd, tolerateErrors } from './end.ts';
import { systemClock } from './node/clock.ts';
import { systemExec } from './node/exec.ts';
import { systemFiles } from './node/files.ts';
import { boundedWrite, mostWaitingBytes } from './node/bounded-write.ts';
import { defaultFormat, isJournal, makeLog } from './node/log.ts';
import { countFailures, makeMetrics } from './node/metrics.ts';

const { version } = packageFile;

const machine: Platform = {
  clock: systemClock,
  random: Math.random,
  exec: systemExec,
  files: systemFiles,
  env: process.env,
  homeFolder: homedir(),
  hostname: hostname(),
  isRoot: process.getuid?.() === 0,
  pid: process.pid,
  nodeVersion: process.versions.node,
  newId: randomUUID,
  runFolder: `/run/furiwake/net-${networkNamespace()}`,
};

/** Number of this process's network namespace, which the kernel shows as `net:[4026531833]`. */
function networkNamespace(): string {
  return /\d+/.exec(readlinkSync('/proc/self/ns/net'))?.[0] ?? 'unknown';
}

function write(text: string): void {
  process.stdout.write(text);
}

/** How to write to a stream: a pipe or a file has no width. */
function screenOf(stream: { readonly isTTY?: boolean; readonly columns?: number }): TextScreen {
  return {
    isColoured: hasColour(stream, process.env['NO_COLOR']),
    columns: stream.isTTY === true ? stream.columns : undefined,
  };
}

function deps(command: string, { level, format: asked }: LogOptions): CommandDeps {
  const stream = isJournal(process.env['JOURNAL_STREAM']) ? 'journal' : process.stderr.isTTY ? 'terminal' : 'other';
  const format = asked === 'text' && stream === 'journal' ? 'journal' : (asked ?? defaultFormat(command, stream));
  const metrics = makeMetrics();
  const log: Log = makeLog({
    level,
    format,
    isColoured: hasColour(process.stderr, process.env['NO_COLOR']),
    write: boundedWrite({
      stream: process.stderr,
      mostBytes: mostWaitingBytes,
      onRead: (dropped) => noteDropped(dropped),
    }),
    onFailing: countFailures(metrics),
  });
  const noteDropped = (lines: number): void =>
    log.warn({ lines }, 'log lines were dropped: standard error was not read');
  const reloads = new Set<() => void>();
  signals.attend(log, () => {
    for (const reload of reloads) reload();
  });
  return { version, machine, log, metrics, onReload: (reload) => void reloads.add(reload) };
}

async function main(args: readonly string[], signal: AbortSignal): Promise<number> {
  const invocation = readCommandLine(args, {
    version,
    env: process.env,
    columns: process.stdout.columns ?? 100,
    write,
    writeError: (text) => process.stderr.write(text),
  });
  return perform(invocation, signal);
}

async function perform(invocation: Invocation, signal: AbortSignal): Promise<number> {
  switch (invocation.command) {
    case 'run': {
      const { options } = invocation;
      const command = deps('run', invocation.log);
      try {
        await run(options, command, signal);
      } catch (error) {
        if (!isToldToEnd(error, signal)) {
          const { exitCode, words } = endFor(error, signal);
          command.log.error({}, words); // a collector of the log reads no other lines
          return exitCode;
        }
      }
      command.log.info({}, options.stopsTrafficOnExit ? 'stopped, and the traffic with it' : stoppedWords);
      return 0;
    }
    case 'check': {
      const command = deps('check', invocation.log);
      const { isJson } = invocation;
      const connect = makeConnect(command);
      const probe = makeProbe({ clock: systemClock });
      const kubeProxies = (): KubeProxy => makeKubeProxy({ clock: systemClock });
      return check(
        invocation.options,
        { ...command, ...screenOf(process.stdout), write, connect, probe, makeKubeProxy: kubeProxies, isJson },
        signal,
      );
    }
    case 'cleanup':
      await cleanup(invocation.options, invocation.isCluster, deps('cleanup', invocation.log), signal);
      return 0;
    case 'status':
      if (invocation.isWatched) await watch(invocation, signal);
      else write(formatAnswer(invocation, await askStatus(invocation, signal), screenOf(process.stdout)));
      return 0;
    case 'connections':
      write(await showConnections(invocation, screenOf(process.stdout), signal));
      return 0;
    case 'drain':
    case 'undrain':
      write(await changeDrain(invocation.stateDir, invocation.command, invocation.target, signal));
      return 0;
    case 'version':
      write(`${version}\n`);
      return 0;
    case 'none':
      return invocation.exitCode;
    default:
      return assertNever(invocation);
  }
}

/** Until a signal, or until the reader of the output is gone. */
async function watch(request: StatusRequest, signal: AbortSignal): Promise<void> {
  const { stdout } = process;
  const gone = new AbortController();
  stdout.once('error', (error) => gone.abort(error));
  const until = AbortSignal.any([signal, gone.signal]);
  const source = {
    ask: (inner: AbortSignal) => askStatus(request, inner),
    format: (answer: string) => formatAnswer(request, answer, screenOf(stdout)),
    rows: () => (stdout.isTTY && !request.isJson ? stdout.rows || undefined : undefined),
    write: async (text: string) => {
      const written = new Promise<void>((resolve) => stdout.write(text, () => resolve()));
      await unlessAborted(written, until); // the reader of a pipe may be slow
    },
    clock: systemClock,
  };
  await watchStatus(source, until).catch((error: unknown) => {
    if (!isToldToEnd(error, until)) throw error;
  });
}

const stoppedWords = 'stopped; this host stays as last configured. To stop its traffic, run: furiwake cleanup';

tolerateErrors(process.stderr);
tolerateErrors(process.stdout, (error) => {
  process.stderr.write(`error: cannot write to standard output: ${systemWords(error)}\n`);
  process.exitCode = 1;
});

try {
  process.exitCode = await main(process.argv.slice(2), end);
} catch (error) {
  const { exitCode, words } = endFor(error, end);
  process.stderr.write(`error: ${words}\n`);
  process.exitCode = exitCode;
}
