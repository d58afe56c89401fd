import { LabError } from '../lab/errors.ts';
import { findCommand } from '../lab/machine/commands.ts';
import { run } from '../lab/machine/run.ts';
import type { Progress } from '../lab/progress.ts';
import type { Machine } from '../test/netns/net-lab.ts';

/** Installs wrk if it is missing. @throws LabError if apt fails. */
export async function ensureWrk(progress: Progress, signal: AbortSignal): Promise<void> {
  if (findCommand('wrk') !== undefined) return;
  if (findCommand('apt-get') === undefined)
    throw new LabError('PACKAGES_MISSING', 'wrk is not installed', 'Install it.');
  progress.say('Installing the Debian package wrk');
  await run(['apt-get', 'update'], { signal });
  await run(['apt-get', 'install', '--yes', '--no-install-recommends', 'wrk'], { signal });
}

/** Requests (with `isKeptAlive`) or connections a second, over 3 s with 64 connections. */
export async function wrk(
  client: Machine,
  address: string,
  isKeptAlive: boolean,
  signal: AbortSignal,
): Promise<number> {
  const close = isKeptAlive ? [] : ['--header', 'Connection: close'];
  const args = [
    '--threads',
    '2',
    '--connections',
    '64',
    '--duration',
    '3s',
    '--timeout',
    '5s',
    ...close,
    `http://${address}/`,
  ];
  const { stdout } = await client.execPort.run('wrk', args, { signal, timeoutMs: 30_000 });
  const rate = /^Requests\/sec:\s+([\d.]+)$/m.exec(stdout)?.[1];
  const failed = /^\s*(Socket errors|Non-2xx).*$/m.exec(stdout)?.[0];
  if (rate === undefined || failed !== undefined) throw new Error(`wrk at ${address}: ${failed?.trim() ?? stdout}`);
  return Number(rate);
}
