import { StartError } from './errors.ts';
import type { Platform } from './platform.ts';
import { oneLine } from '../core/text.ts';
import { type Exec, ExecError } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';

/** Programs that must be on the host, with their Debian packages and the commands that print their versions. */
const tools = [
  { program: 'haproxy', debianPackage: 'haproxy', args: ['-v'] },
  { program: 'nft', debianPackage: 'nftables', args: ['--version'] },
  { program: 'ip', debianPackage: 'iproute2', args: ['-V'] },
  { program: 'ss', debianPackage: 'iproute2', args: ['-V'] },
  { program: 'perl', debianPackage: 'perl', args: ['-e', 'printf "%vd", $^V'] }, // sends and hears what Node cannot
] as const;

export type ToolVersion = {
  readonly program: string;
  /** `undefined`: see `failure`. */
  readonly version: string | undefined;
  /** `words` complete "haproxy is …". */
  readonly failure?: { readonly words: string; readonly advice: string };
};

/** The first line of each program's version output. */
export async function toolVersions(exec: Exec, signal: AbortSignal): Promise<readonly ToolVersion[]> {
  return Promise.all(
    tools.map(async ({ program, debianPackage, args }) => {
      try {
        const { stdout } = await exec.run(program, args, { signal });
        return { program, version: stdout.split('\n', 1)[0] ?? '' };
      } catch (error) {
        if (!(error instanceof ExecError)) throw error;
        const failure = error.isMissing
          ? { words: 'not installed', advice: `install it (Debian: apt-get install ${debianPackage})` }
          : {
              words: `not usable (${causeOf(error)})`,
              advice: `run it by hand, and install it again if it fails (Debian: apt-get install --reinstall ${debianPackage})`,
            };
        return { program, version: undefined, failure };
      }
    }),
  );
}

/** On one line, without the name of the program. */
function causeOf({ command, message }: ExecError): string {
  return oneLine(message.slice(`${command}: `.length));
}

/** `line`: `HAProxy version 2.6.12-1+deb12u4 2026/10/17 - …`. */
export function isHaproxyTooOld(line: string): boolean {
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(line) ?? [0, 0, 0];
  return Number(major) < 2 || (Number(major) === 2 && Number(minor) < 6);
}

/** Bits of `CapEff` in /proc/PID/status (capabilities(7)). HAProxy needs all but the last one, which sends ARP and probes. */
const capabilities = new Map([
  [6n, 'CAP_SETGID'],
  [7n, 'CAP_SETUID'],
  [10n, 'CAP_NET_BIND_SERVICE'],
  [12n, 'CAP_NET_ADMIN'],
  [18n, 'CAP_SYS_CHROOT'],
  [13n, 'CAP_NET_RAW'],
]);

/** What to do where {@link missingCapabilities} are. */
export const capabilityAdvice =
  'add them to CapabilityBoundingSet= of the unit, or to the capabilities of the container';

/** The capabilities that root lacks here, as in a unit with `CapabilityBoundingSet=`; empty if they are not known. */
export async function missingCapabilities(files: Files): Promise<readonly string[]> {
  const text = (await files.read('/proc/self/status')) ?? '';
  const effective = /^CapEff:\s+([\da-f]+)/m.exec(text)?.[1];
  if (effective === undefined) return [];
  const bits = BigInt(`0x${effective}`);
  return [...capabilities].flatMap(([bit, name]) => ((bits >> bit) & 1n ? [] : name));
}

/** Throws {@link StartError} for the first missing requirement. */
export async function assertHost({ exec, files, isRoot }: Platform, signal: AbortSignal): Promise<void> {
  if (!isRoot)
    throw new StartError('furiwake run needs root: it configures nftables, routes and addresses of this host');
  const missing = await missingCapabilities(files);
  if (missing.length > 0)
    throw new StartError(
      `furiwake run needs ${missing.join(', ')}, which root does not have here: ${capabilityAdvice}`,
    );
  for (const { program, version, failure } of await toolVersions(exec, signal)) {
    if (failure !== undefined) throw new StartError(`${program} is ${failure.words}: ${failure.advice}`);
    if (program === 'haproxy' && isHaproxyTooOld(version ?? ''))
      throw new StartError(`haproxy is too old (${version}): furiwake needs 2.6 or newer`);
  }
}

/** The account of HAProxy's package; workers need no permissions once they listen. `undefined`: it does not exist. */
export async function haproxyAccount(
  files: Files,
): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  const line = /^haproxy:[^:]*:(\d+):(\d+):/m.exec((await files.read('/etc/passwd')) ?? '');
  return line === null ? undefined : { uid: Number(line[1]), gid: Number(line[2]) };
}

const fallbackLimit = 1_024;
const unlimited = 1_048_576;

/** The number of descriptors that a child process may open (hard limit of `RLIMIT_NOFILE`). */
export async function descriptorLimit(files: Files): Promise<number> {
  const text = (await files.read('/proc/self/limits')) ?? '';
  const hard = /^Max open files\s+(?:\d+|unlimited)\s+(\d+|unlimited)/m.exec(text)?.[1];
  if (hard === undefined) return fallbackLimit;
  return hard === 'unlimited' ? unlimited : Number(hard);
}
