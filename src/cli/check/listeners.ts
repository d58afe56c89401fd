import { listenPort } from '../../dataplane/haproxy/config/config.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import { serveHttp } from '../../http/server.ts';
import type { FoundHolder } from '../../daemon/host-lock.ts';
import { earlierStatePaths, haproxyFolder } from '../../daemon/platform.ts';
import { findPortHolders, holderWords, listenTrouble, type PortHolder } from '../../daemon/port-holders.ts';
import type { RunOptions } from '../options.ts';
import { type Finding, ok, problem } from './finding.ts';

/** Whether the port on which HAProxy takes connections is free, or taken by the HAProxy of furiwake, or of release 0.1.0. */
export async function checkHaproxyPort(
  stateDir: string,
  { exec, files, runFolder }: { readonly exec: Exec; readonly files: Files; readonly runFolder: string },
  signal: AbortSignal,
): Promise<Finding> {
  const folders = [haproxyFolder(runFolder), earlierStatePaths(stateDir).haproxy];
  const configs = folders.map((folder) => `${folder}/haproxy.cfg`);
  return checkPort({
    found: `127.0.0.1:${listenPort}`,
    listeners: await findPortHolders('localhost', listenPort, exec, signal),
    isOurs: async ({ pid }) => {
      const args = pid === undefined ? [] : ((await files.read(`/proc/${pid}/cmdline`)) ?? '').split('\0');
      return configs.some((config) => args.includes(config));
    },
    advice:
      'stop that process. If it is a HAProxy of release 0.1.0 with another state directory, run furiwake cleanup with that --state-dir',
  });
}

/**
 * Whether the metrics address is free, or taken by `holder`, the furiwake that runs on this host. `listen`: listens there for a
 * moment, because the host may not have the address.
 */
export async function checkMetricsPort(
  address: RunOptions['metricsAddress'],
  { exec, listen = listenBriefly }: { readonly exec: Exec; readonly listen?: typeof listenBriefly },
  holder: FoundHolder,
  signal: AbortSignal,
): Promise<Finding> {
  if (address === undefined) return ok('none');
  const { host, port } = address;
  const listeners = await findPortHolders(host, port, exec, signal);
  try {
    if (listeners.length === 0) await listen(address, signal);
  } catch (error) {
    signal.throwIfAborted();
    return problem(await listenTrouble(address, error, exec, signal), 'choose another --metrics-address, or none');
  }
  return checkPort({
    found: `${host.includes(':') ? `[${host}]` : host}:${port}`,
    listeners,
    isOurs: async ({ pid }) => holder !== undefined && holder !== 'unknown' && pid === holder.pid,
    advice: 'stop that process, or choose another --metrics-address, or none',
  });
}

async function listenBriefly(address: NonNullable<RunOptions['metricsAddress']>, signal: AbortSignal): Promise<void> {
  await using _server = await serveHttp(address, {}, signal);
}

async function checkPort({
  found,
  listeners,
  isOurs,
  advice,
}: {
  readonly found: string;
  /** The processes of each listening socket. */
  readonly listeners: readonly (readonly PortHolder[])[];
  readonly isOurs: (holder: PortHolder) => Promise<boolean>;
  readonly advice: string;
}): Promise<Finding> {
  for (const holders of listeners) {
    const ours = await Promise.all(holders.map(isOurs));
    if (ours.includes(true)) continue;
    return problem(`${found} is held by ${holders.map(holderWords)[0] ?? ''}`, advice);
  }
  return ok(`${found}, ${listeners.length === 0 ? 'free' : 'held by furiwake'}`);
}
