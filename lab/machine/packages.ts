import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { LabError } from '../errors.ts';
import type { Progress } from '../progress.ts';
import { findCommand } from './commands.ts';
import { environment, run } from './run.ts';

/** Debian packages that the lab needs, each with a program that shows its presence. */
const needed: Readonly<Record<string, string>> = {
  'bind9-dnsutils': 'dig',
  conntrack: 'conntrack',
  'containernetworking-plugins': '/usr/lib/cni/bridge',
  curl: 'curl',
  haproxy: 'haproxy',
  iproute2: 'ip',
  'iputils-arping': 'arping',
  'iputils-ping': 'ping',
  'netcat-openbsd': 'nc',
  nftables: 'nft',
  openssl: 'openssl',
  procps: 'ps',
  psmisc: 'fuser',
  runc: 'runc',
  tcpdump: 'tcpdump',
  wget: 'wget',
};

/** Needed packages whose program is missing. */
export function missingPackages(find: (program: string) => string | undefined = findProgram): readonly string[] {
  return Object.entries(needed)
    .filter(([, program]) => find(program) === undefined)
    .map(([name]) => name);
}

/**
 * Installs missing packages, and prints their names first. apt runs to its end even if `signal` aborts, because an
 * interrupted dpkg would leave the machine in a broken state.
 *
 * @throws LabError `PACKAGES_MISSING` if that is not possible.
 */
export async function installPackages(progress: Progress, signal: AbortSignal): Promise<void> {
  const missing = missingPackages();
  if (missing.length === 0) return;
  const line = `apt-get install --no-install-recommends ${missing.join(' ')}`;
  if (findCommand('apt-get') === undefined || process.getuid?.() !== 0)
    throw new LabError('PACKAGES_MISSING', `not installed: ${missing.join(', ')}`, `As root on Debian: ${line}`);
  progress.say(`Installing Debian packages: ${missing.join(', ')}`);
  using step = progress.step('Installing');
  await apt(['update'], uninterrupted);
  await apt(['install', '--yes', '--no-install-recommends', ...missing], uninterrupted);
  signal.throwIfAborted();
  step.done();
}

/** Downloads packages without installing them; returns the archives. */
export async function downloadPackages(
  names: readonly string[],
  folder: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  await apt(['download', ...names], signal, folder).catch(async () => {
    signal.throwIfAborted();
    await apt(['update'], uninterrupted); // the lists may be old or missing
    await apt(['download', ...names], signal, folder);
  });
  const archives = (await readdir(folder)).filter((name) => name.endsWith('.deb'));
  return archives.map((name) => path.join(folder, name));
}

const uninterrupted = new AbortController().signal;

async function apt(args: readonly string[], signal: AbortSignal, cwd = '/'): Promise<void> {
  await run(['apt-get', '-o', 'DPkg::Lock::Timeout=120', '--quiet', ...args], {
    signal,
    cwd,
    timeoutMs: 15 * 60_000,
    env: { ...environment(), DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
  });
}

function findProgram(program: string): string | undefined {
  return program.startsWith('/') ? findCommand(path.basename(program), [path.dirname(program)]) : findCommand(program);
}
