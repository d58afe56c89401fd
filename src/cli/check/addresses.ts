import type { Ip } from '../../core/ip/ip.ts';
import type { ListeningSocket } from '../../core/model/host.ts';
import { portList } from '../../core/status/sentences.ts';
import { earlierStatePaths, type Platform, statePaths } from '../../daemon/platform.ts';
import { makeHost } from '../../host/host.ts';
import { makeNetwork, type Network } from '../../host/network.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Log } from '../../ports/log.ts';
import { makePlacementRecord } from '../../state/placement-record.ts';
import type { RunOptions } from '../options.ts';
import { type Finding, ok } from './finding.ts';

const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  failing: () => undefined,
  child: () => silentLog,
};

/** The addresses of this host: its own, without those that a furiwake with this state directory added. */
export async function readNetwork(
  stateDir: string,
  { exec, files, clock }: Platform,
  signal: AbortSignal,
): Promise<Network> {
  const record = makePlacementRecord({
    path: statePaths(stateDir).placement,
    earlierPath: earlierStatePaths(stateDir).addresses,
    files,
    log: silentLog,
  });
  const network = makeNetwork({ exec, files, record, clock, log: silentLog });
  await network.refresh(signal);
  return network;
}

/** Which ports of this host's own addresses no Service gets. */
export async function checkReservedPorts(
  { reservedPorts }: Pick<RunOptions, 'reservedPorts'>,
  own: ReadonlyMap<string, Ip>,
  exec: Exec,
  signal: AbortSignal,
): Promise<Finding> {
  const listening = await makeHost({ exec, log: silentLog }).listening(signal);
  const inUse = listening.filter(({ address }) => address === undefined || own.has(address.text));
  const portsOf = (wanted: ListeningSocket['protocol']): readonly number[] =>
    inUse.flatMap(({ protocol, port }) => (protocol === wanted ? port : []));
  const [tcp, udp] = [portList([...reservedPorts, ...portsOf('TCP')]), portList(portsOf('UDP'))];
  const ports = [tcp, udp === '' ? '' : `UDP ${udp}`].filter((text) => text !== '').join(', ');
  return ok(`${ports || 'none'} (in use or reserved on this host's own addresses)`);
}
