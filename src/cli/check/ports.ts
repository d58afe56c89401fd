import { makeAnnouncer } from '../../announce/host/announcer.ts';
import { readRecord } from '../../announce/host/record.ts';
import { makeHost } from '../../dataplane/host/host.ts';
import type { Files } from '../../ports/files.ts';
import type { Log } from '../../ports/log.ts';
import type { Holder } from '../host-lock.ts';
import { type Machine, statePaths } from '../machine.ts';
import type { RunOptions } from '../options.ts';
import { type Finding, ok, warning, wrong } from './finding.ts';

const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

/** Ports of this host that no Service can have, and whether a furiwake runs already. */
export async function checkPorts(
  options: RunOptions,
  { exec, files, clock }: Machine,
  holder: Holder | 'unknown' | undefined,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const announcer = makeAnnouncer({ exec, files, folder: options.stateDir, clock, log: silentLog, lifetime: signal });
  const host = makeHost({ exec, ownAddresses: (inner) => announcer.ownAddresses(inner), log: silentLog });
  const { ownAddresses, listening } = await host.facts(signal);
  const own = new Set(ownAddresses.map((ip) => ip.text));
  const taken = new Set(
    listening.filter(({ address }) => address === undefined || own.has(address.text)).map(({ port }) => port),
  );
  for (const port of options.reservedPorts) taken.add(port);
  return [
    ...(await checkRecord(files, statePaths(options.stateDir).addresses)),
    ok('own addresses', [...own].join(', ') || 'none'),
    ok(
      'ports not given',
      `${[...taken].sort((a, b) => a - b).join(', ') || 'none'} (in use or reserved on the host's own addresses)`,
    ),
    checkHolder(holder),
  ];
}

/** furiwake goes on without a record that is torn, and might take addresses of its own for the host's. */
async function checkRecord(files: Files, path: string): Promise<readonly Finding[]> {
  try {
    await readRecord(files, path);
    return [];
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return [wrong('own addresses', error.message, 'do so while no furiwake runs')];
  }
}

function checkHolder(holder: Holder | 'unknown' | undefined): Finding {
  const what = 'other furiwake';
  if (holder === undefined) return ok(what, 'none on this host');
  const who =
    holder === 'unknown'
      ? 'something that does not say who it is'
      : `furiwake ${holder.command}, process ${holder.pid},`;
  return warning(what, `${who} has this host (the abstract socket @furiwake)`, 'a second one refuses to start');
}
