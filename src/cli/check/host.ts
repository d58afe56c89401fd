import { connectionLimit } from '../../dataplane/haproxy/config.ts';
import { descriptorLimit } from '../../daemon/descriptors.ts';
import { isHaproxyTooOld, toolVersions } from '../../daemon/host-tools.ts';
import type { Holder } from '../../daemon/host-lock.ts';
import type { Platform } from '../../daemon/platform.ts';
import type { RunOptions } from '../options.ts';
import { type Finding, findingsOf, ok, warning, wrong } from './finding.ts';
import { checkFirewall } from './firewall.ts';
import { checkListeners } from './listeners.ts';
import { checkTproxy } from './nftables.ts';
import { checkPorts } from './ports.ts';
import { checkSocketKiller } from './socket-killer.ts';
import { checkSysctls } from './sysctls.ts';

/** Everything that can be told without the cluster. `holder`: the furiwake that has this host. */
export async function checkHost(
  options: RunOptions,
  machine: Platform,
  holder: Holder | 'unknown' | undefined,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const root = machine.isRoot
    ? ok('user', 'root')
    : wrong(
        'user',
        'not root',
        'run it as root: most of what follows cannot be told, and nothing can be programmed, without',
      );
  const tools = await checkTools(machine, signal);
  if (tools.some((finding) => finding.mark === 'wrong') || !machine.isRoot) return [root, ...tools];
  const { exec, files, clock } = machine;
  const looks: readonly (readonly [what: string, look: () => Promise<Finding | readonly Finding[]>])[] = [
    ['TPROXY', () => checkTproxy(exec, signal)],
    ['ss -K', () => checkSocketKiller(exec, clock, signal)],
    ['host firewall', () => checkFirewall(exec, signal)],
    ['kernel settings', () => checkSysctls(files, exec, signal)],
    ['descriptor limit', () => checkDescriptors(machine)],
    ['ports', () => checkListeners(options, machine, holder, signal)],
    ['own addresses', () => checkPorts(options, machine, holder, signal)],
  ];
  const findings = [root, ...tools];
  for (const [what, look] of looks) findings.push(...(await findingsOf(what, look, signal)));
  return findings;
}

async function checkTools({ exec }: Platform, signal: AbortSignal): Promise<readonly Finding[]> {
  return (await toolVersions(exec, signal)).map(({ program, debianPackage, version }) => {
    if (version === undefined)
      return wrong(program, 'not on this host', `install it (Debian: apt-get install ${debianPackage})`);
    if (program === 'haproxy' && isHaproxyTooOld(version))
      return wrong(program, version, 'furiwake needs HAProxy 2.6 or newer');
    return ok(program, version);
  });
}

const comfortableConnections = 10_000;

async function checkDescriptors(machine: Platform): Promise<Finding> {
  const descriptors = await descriptorLimit(machine.files);
  const connections = connectionLimit(descriptors);
  const found = `${descriptors} descriptors: HAProxy holds ${connections} connections at once`;
  if (connections >= comfortableConnections) return ok('descriptor limit', found);
  return warning(
    'descriptor limit',
    found,
    'raise the hard limit (LimitNOFILE= of the service, or /etc/security/limits.conf) if more are to be expected',
  );
}
