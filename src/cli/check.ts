import { checkCluster } from './check/cluster.ts';
import { type Finding, marks } from './check/finding.ts';
import { checkHost } from './check/host.ts';
import { formatFindings } from './check/format.ts';
import { findHolder } from '../daemon/host-lock.ts';
import type { RunOptions } from './options.ts';
import type { CommandDeps } from '../daemon/command.ts';

export type CheckDeps = CommandDeps & {
  readonly isJson: boolean;
  readonly isColoured: boolean;
  readonly write: (text: string) => void;
};

/** `furiwake check`: whether this host and the cluster are ready; changes nothing. The exit code: 1 if a check failed. */
export async function check(options: RunOptions, deps: CheckDeps, signal: AbortSignal): Promise<number> {
  const findings: readonly Finding[] = [
    ...(await checkHost(
      options,
      deps.machine,
      deps.machine.isRoot ? await findHolder(deps.machine, signal) : undefined,
      signal,
    )),
    ...(await checkCluster(options, deps, signal)),
  ];
  deps.write(deps.isJson ? `${JSON.stringify(findings, undefined, 2)}\n` : formatFindings(findings, deps.isColoured));
  return findings.some((finding) => finding.mark === marks.wrong) ? 1 : 0;
}
