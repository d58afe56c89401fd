import { connectionLimit } from '../../dataplane/haproxy/config.ts';
import {
  descriptorLimit,
  haproxyAccount,
  isHaproxyTooOld,
  type ToolVersion,
  toolVersions,
} from '../../daemon/host-tools.ts';
import { findHolder, type FoundHolder } from '../../daemon/host-lock.ts';
import type { Platform } from '../../daemon/platform.ts';
import { findStateDir } from '../../daemon/state-dir.ts';
import { StartError } from '../../daemon/errors.ts';
import type { Files } from '../../ports/files.ts';
import type { Network } from '../../host/network.ts';
import type { RunOptions } from '../options.ts';
import { checkReservedPorts, readNetwork } from './addresses.ts';
import { type Finding, type Group, ok, problem, warning } from './finding.ts';
import { checkFirewall } from './firewall.ts';
import type { Inspect } from './inspect.ts';
import { checkHaproxyPort, checkMetricsPort } from './listeners.ts';
import { checkConntrack, checkNat, checkTproxy } from './nftables.ts';
import { checkSocketKiller } from './socket-killer.ts';
import { checkSysctls } from './sysctls.ts';

/** What the later checks need of this host. */
export type CheckedHost = {
  readonly network: Pick<Network, 'addresses' | 'links'>;
  readonly hasPerl: boolean;
  readonly hasNft: boolean;
};

/**
 * Everything that can be checked without the cluster. A check whose program is missing is skipped: the missing program is
 * the problem. Resolves with the host's addresses, or `undefined` where they cannot be read.
 */
export async function checkHost(
  options: RunOptions,
  machine: Platform,
  inspect: Inspect,
  signal: AbortSignal,
): Promise<CheckedHost | undefined> {
  const { exec, files, clock, isRoot } = machine;
  const versions = new Map((await toolVersions(exec, signal)).map((tool) => [tool.program, tool]));
  const has = (program: string): boolean => isRoot && versions.get(program)?.version !== undefined;
  const inspectTool = (group: Group, program: string): Promise<boolean> =>
    inspect(group, program, async () => toolFinding(versions.get(program)));

  await inspect('This host', 'user', async () =>
    isRoot ? ok('root') : problem('not root', 'run it again with sudo: most checks need root'),
  );
  await inspect('This host', 'Node.js', async () => ok(machine.nodeVersion)); // an older one does not get this far
  await inspectTool('This host', 'ip');
  await inspectTool('This host', 'ss');
  await inspectTool('This host', 'perl');
  let holder: FoundHolder;
  let network: CheckedHost['network'] | undefined;
  if (isRoot)
    await inspect('This host', 'other furiwake', async () => {
      holder = await findHolder(machine, signal);
      return holderFinding(holder);
    });
  if (isRoot) await inspect('This host', 'state directory', () => checkStateDir(files, options.stateDir));
  if (has('ip'))
    await inspect('This host', 'own addresses', async () => {
      network = await readNetwork(options.stateDir, machine, signal);
      return ok([...network.addresses().own.keys()].join(', ') || 'none');
    });
  if (has('ss')) {
    const own = network?.addresses().own;
    if (own !== undefined)
      await inspect('This host', 'reserved ports', () => checkReservedPorts(options, own, exec, signal));
    await inspect('This host', 'metrics address', () =>
      checkMetricsPort(options.metricsAddress, machine, holder, signal),
    );
  }

  await inspectTool('HAProxy', 'haproxy');
  if (has('ss')) await inspect('HAProxy', 'port of HAProxy', () => checkHaproxyPort(options.stateDir, machine, signal));
  if (versions.get('haproxy')?.version !== undefined) await inspect('HAProxy', 'account', () => checkAccount(files));
  await inspect('HAProxy', 'connection limit', () => checkDescriptors(machine));

  await inspectTool('Kernel', 'nft');
  if (has('nft')) {
    await inspect('Kernel', 'TPROXY', () => checkTproxy(exec, signal));
    await inspect('Kernel', 'NAT', () => checkNat(exec, signal));
    await inspect('Kernel', 'host firewall', () => checkFirewall(exec, signal));
  }
  if (has('perl')) await inspect('Kernel', 'conntrack', () => checkConntrack(exec, signal));
  if (has('ss')) await inspect('Kernel', 'ss -K', () => checkSocketKiller(exec, clock, signal));
  if (has('ip')) await inspect('Kernel', 'kernel settings', () => checkSysctls(files, exec, signal));
  return network && { network, hasPerl: has('perl'), hasNft: has('nft') };
}

function toolFinding(tool: ToolVersion | undefined): readonly Finding[] {
  if (tool === undefined) return [];
  const { program, debianPackage, version } = tool;
  if (version === undefined) return [problem('not installed', `install it (Debian: apt-get install ${debianPackage})`)];
  const short = /\d+(\.\d+)+[^\s,)]*/.exec(version)?.[0] ?? version;
  if (program === 'haproxy' && isHaproxyTooOld(version)) return [problem(short, 'furiwake needs HAProxy 2.6 or newer')];
  return [ok(short)];
}

async function checkStateDir(files: Files, stateDir: string): Promise<Finding> {
  try {
    const found = await findStateDir(files, stateDir);
    return ok(found === 'present' ? stateDir : `${stateDir}, which run creates`);
  } catch (error) {
    if (error instanceof StartError) return problem(error.message, 'correct --state-dir, or this folder');
    throw error;
  }
}

function holderFinding(holder: FoundHolder): Finding {
  if (holder === undefined) return ok('none is running on this host');
  if (holder === 'unknown')
    return warning(
      'one is running on this host and does not answer',
      'wait until it has ended, or end it: only one runs on a host',
    );
  return ok(`furiwake ${holder.command} is running on this host (PID ${holder.pid})`);
}

async function checkAccount(files: Files): Promise<Finding> {
  if ((await haproxyAccount(files)) !== undefined) return ok('haproxy, for the workers of HAProxy');
  const found = 'this host has no account "haproxy": the workers of HAProxy run as root';
  const advice = 'create it (useradd --system --user-group haproxy); a running furiwake uses it after a restart';
  return warning(found, advice);
}

const comfortableConnections = 10_000;

async function checkDescriptors({ files }: Platform): Promise<Finding> {
  const descriptors = await descriptorLimit(files);
  const connections = connectionLimit(descriptors);
  const found = `${connections} connections at once (${descriptors} file descriptors)`;
  if (connections >= comfortableConnections) return ok(found);
  return warning(found, 'set LimitNOFILE= in the unit (without systemd: /etc/security/limits.conf) if you expect more');
}
