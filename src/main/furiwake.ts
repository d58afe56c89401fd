import './node/heap.ts';
import { randomUUID } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import packageFile from '../../package.json' with { type: 'json' };
import { assertNever } from '../core/assert-never.ts';
import type { Platform } from '../daemon/platform.ts';
import { check } from '../cli/check.ts';
import { cleanup } from './cleanup.ts';
import { type Invocation, type LogOptions, readCommandLine } from '../cli/program.ts';
import type { CommandDeps } from '../daemon/command.ts';
import { run } from './run.ts';
import { changeDrain, showStatus } from '../cli/status.ts';
import { endFor, isToldToEnd } from './end.ts';
import { systemClock } from './node/clock.ts';
import { systemExec } from './node/exec.ts';
import { systemFiles } from './node/files.ts';
import { makeLog } from './node/log.ts';
import { makeMetrics } from './node/metrics.ts';
import { tolerateErrors } from './node/output.ts';

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
  newId: randomUUID,
  lockFolder: `/run/furiwake/net-${networkNamespace()}`,
};

/** Number of this process's network namespace, which the kernel shows as `net:[4026531833]`. */
function networkNamespace(): string {
  return /\d+/.exec(readlinkSync('/proc/self/ns/net'))?.[0] ?? 'unknown';
}

function write(text: string): void {
  process.stdout.write(text);
}

function deps(options: LogOptions): CommandDeps {
  const log = makeLog({ ...options, isColoured: process.stderr.isTTY, write: (text) => process.stderr.write(text) });
  return { version: packageFile.version, machine, log, metrics: makeMetrics() };
}

async function main(args: readonly string[], signal: AbortSignal): Promise<number> {
  const invocation = readCommandLine(args, {
    version: packageFile.version,
    isTerminal: process.stderr.isTTY,
    columns: process.stdout.columns ?? 100,
    write,
    writeError: (text) => process.stderr.write(text),
  });
  return perform(invocation, signal);
}

async function perform(invocation: Invocation, signal: AbortSignal): Promise<number> {
  switch (invocation.command) {
    case 'run':
      await run(invocation.options, deps(invocation.log), signal).catch((error: unknown) => {
        if (!isToldToEnd(error, signal)) throw error;
      });
      return 0;
    case 'check':
      return check(
        invocation.options,
        { ...deps(invocation.log), isJson: invocation.isJson, isColoured: process.stdout.isTTY, write },
        signal,
      );
    case 'cleanup':
      await cleanup(invocation.options, invocation.isCluster, deps(invocation.log), signal);
      return 0;
    case 'status':
      write(await showStatus(invocation.stateDir, invocation.isJson, signal));
      return 0;
    case 'drain':
    case 'undrain':
      write(await changeDrain(invocation.stateDir, invocation.command, invocation.node, signal));
      return 0;
    case 'none':
      return invocation.exitCode;
    default:
      return assertNever(invocation);
  }
}

/** SIGINT and SIGTERM end it in order; the second one at once. */
const ending = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    if (ending.signal.aborted) process.exit(1);
    ending.abort(new Error(`ended by ${name}`));
  });
}

tolerateErrors(process.stderr);
tolerateErrors(process.stdout, (error) => {
  process.stderr.write(`furiwake: standard output cannot be written: ${error.message}\n`);
  process.exitCode = 1;
});

try {
  process.exitCode = await main(process.argv.slice(2), ending.signal);
} catch (error) {
  const { exitCode, lastWords } = endFor(error, ending.signal);
  process.stderr.write(lastWords);
  process.exitCode = exitCode;
}
