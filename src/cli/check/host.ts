import { messageOf } from '../../async/error-words.ts';
import { connectionLimit } from '../../dataplane/haproxy/config/config.ts';
import {
  capabilityAdvice,
  descriptorLimit,
  haproxyAccount,
  isHaproxyTooOld,
  missingCapabilities,
  type ToolVersion,
  toolVersions,
} from '../../daemon/host-tools.ts';
import { findHolder, type FoundHolder } from '../../daemon/host-lock.ts';
import type { Platform } from '../../daemon/platform.ts';
import { findStateDir } from '../../daemon/state-dir.ts';
import { NewerFileError } from '../../state/map-file.ts';
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

export type CheckedNetwork = Pick<Network, 'addresses' | 'links'>;

/** What the later checks need of this host. */
export type CheckedHost = {
  /** What a check lacks that runs the program; `undefined`: nothing. */
  readonly lacks: (program: 'nft' | 'perl') => string | undefined;
  /** What a check of addresses lacks, or the addresses of the host. */
  readonly network: CheckedNetwork | string;
};

/** Everything that can be checked without the cluster. Where a program is missing, that is the problem, and its checks are omitted. */
export async function checkHost(
  options: RunOptions,
  machine: Platform,
  inspect: Inspect,
  signal: AbortSignal,
): Promise<CheckedHost> {
  const { exec, files, clock, isRoot } = machine;
  const versions = new Map((await toolVersions(exec, signal)).map((tool) => [tool.program, tool]));
  const lacksProgram = (program: string): string | undefined =>
    versions.get(program)?.version === undefined ? `needs ${program}` : undefined;
  const lacksRoot = isRoot ? undefined : 'needs root';
  const lacks = (program: string): string | undefined => lacksRoot ?? lacksProgram(program);
  const inspectTool = (group: Group, program: string): Promise<boolean> =>
    inspect(group, program, async () => toolFinding(versions.get(program)));

  await inspect('This host', 'user', () => checkUser(machine));
  await inspect('This host', 'Node.js', async () => ok(machine.nodeVersion)); // an older one does not get this far
  await inspectTool('This host', 'ip');
  await inspectTool('This host', 'ss');
  await inspectTool('This host', 'perl');
  let holder: FoundHolder;
  let read: CheckedNetwork | undefined;
  const look = async (): Promise<Finding> => {
    holder = await findHolder(machine, signal);
    return holderFinding(holder);
  };
  await inspect('This host', 'other furiwake', lacksRoot ?? look);
  await inspect('This host', 'state directory', lacksRoot ?? (() => checkStateDir(files, options.stateDir)));
  const readOwn = async (): Promise<Finding> => {
    read = await readNetwork(options.stateDir, machine, signal);
    return ok([...read.addresses().own.keys()].join(', ') || 'none');
  };
  await inspect('This host', 'own addresses', lacks('ip') ?? readOwn);
  const network = read ?? lacks('ip') ?? 'needs the addresses of this host';
  await inspect(
    'This host',
    'reserved ports',
    lacks('ss') ??
      (typeof network === 'string'
        ? network
        : () => checkReservedPorts(options, network.addresses().own, exec, signal)),
  );
  await inspect(
    'This host',
    'metrics address',
    lacks('ss') ?? (() => checkMetricsPort(options.metricsAddress, machine, holder, signal)),
  );

  await inspectTool('HAProxy', 'haproxy');
  await inspect(
    'HAProxy',
    'port of HAProxy',
    lacks('ss') ?? (() => checkHaproxyPort(options.stateDir, machine, signal)),
  );
  await inspect('HAProxy', 'account', lacksProgram('haproxy') ?? (() => checkAccount(files)));
  await inspect('HAProxy', 'connection limit', () => checkDescriptors(machine));

  await inspectTool('Kernel', 'nft');
  await inspect('Kernel', 'TPROXY', lacks('nft') ?? (() => checkTproxy(exec, signal)));
  await inspect('Kernel', 'NAT', lacks('nft') ?? (() => checkNat(exec, signal)));
  await inspect('Kernel', 'host firewall', lacks('nft') ?? (() => checkFirewall(exec, signal)));
  await inspect('Kernel', 'conntrack', lacks('perl') ?? (() => checkConntrack(exec, signal)));
  await inspect('Kernel', 'ss -K', lacks('ss') ?? (() => checkSocketKiller(exec, clock, signal)));
  await inspect('Kernel', 'kernel settings', lacks('ip') ?? (() => checkSysctls(files, exec, signal)));
  return { lacks, network };
}

async function checkUser({ files, isRoot }: Platform): Promise<Finding> {
  if (!isRoot) return problem('not root', 'run it again with sudo: most checks need root');
  const missing = await missingCapabilities(files);
  return missing.length === 0 ? ok('root') : problem(`root without ${missing.join(', ')}`, capabilityAdvice);
}

function toolFinding(tool: ToolVersion | undefined): readonly Finding[] {
  if (tool === undefined) return [];
  const { program, version = '', failure } = tool;
  if (failure !== undefined) return [problem(failure.words, failure.advice)];
  const short = /\d+(\.\d+)+[^\s,)]*/.exec(version)?.[0] ?? version;
  if (program === 'haproxy' && isHaproxyTooOld(version)) return [problem(short, 'furiwake needs HAProxy 2.6 or newer')];
  return [ok(short)];
}

async function checkStateDir(files: Files, stateDir: string): Promise<Finding> {
  try {
    const found = await findStateDir(files, stateDir);
    return ok(found === 'present' ? stateDir : `${stateDir}, which run creates`);
  } catch (error) {
    if (error instanceof StartError || error instanceof NewerFileError)
      return problem(messageOf(error), 'name another --state-dir, or do what the message says with this folder');
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
