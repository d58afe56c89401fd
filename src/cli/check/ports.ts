import { makeAnnouncer } from '../../announce/host/announcer.ts';
import { makeHost } from '../../dataplane/host/host.ts';
import type { Log } from '../../ports/log.ts';
import { askAdmin, type HostStatus } from '../admin.ts';
import { type Machine, statePaths } from '../machine.ts';
import type { RunOptions } from '../options.ts';
import { type Finding, ok, warning } from './finding.ts';

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
  const answer = await askAdmin(statePaths(options.stateDir).adminSocket, 'GET', '/status', '', signal).catch(
    () => undefined,
  );
  const running = answer === undefined ? undefined : (JSON.parse(answer) as HostStatus);
  return [
    ok('own addresses', [...own].join(', ') || 'none'),
    ok(
      'ports not given',
      `${[...taken].sort((a, b) => a - b).join(', ') || 'none'} (in use or reserved on the host's own addresses)`,
    ),
    running === undefined
      ? ok('other furiwake', 'none with this state directory')
      : warning(
          'other furiwake',
          `process ${running.pid} runs with this state directory`,
          'a second one would refuse to start',
        ),
  ];
}
