import { nodesBackend, usesHaproxy } from '../../core/traffic/table.ts';
import type { FamilyHealths } from '../../ports/health.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import type { ListenerCounters, ProxyObservation } from '../../ports/proxy.ts';
import { parseInfo, parseStat, parseTable, type ServerStat } from './answers.ts';
import type { RuntimeApi } from './client.ts';
import type { Desired } from './desired.ts';
import { entryKey } from './entries.ts';
import { statCommands } from './health-tick.ts';
import { nodesOf } from './pools.ts';
import { nodeOfServer } from './spare-servers.ts';

/** The data about HAProxy for `furiwake status`. Throws `RuntimeError` if it does not answer. */
export async function observeProxy(
  api: RuntimeApi,
  desired: Desired | undefined,
  health: FamilyHealths,
  signal: AbortSignal,
): Promise<ProxyObservation> {
  const spares = Array.from(desired?.spares.servers.keys() ?? [], (name) => `show stat ${name} 4 -1`);
  const [info = '', ...answers] = await api.ask(['show info', ...statCommands, ...spares], signal);
  const process = parseInfo(info);
  const stats = sumByNode(answers.flatMap(parseStat));
  return {
    pid: process.pid,
    version: process.version,
    connections: process.connections,
    maxConnections: process.maxConnections,
    upSeconds: process.upSeconds,
    servers: ([4, 6] as const).flatMap((family) =>
      (desired?.servers[family] ?? []).map(({ node, address, isDraining }) => {
        const stat = stats.get(`${nodesBackend(family)}/${node}`);
        const { state, sinceMs, drainSinceMs } = health[family].stateOf(node);
        return {
          node,
          family,
          address: address.text,
          state: isDraining ? 'drain' : state,
          sinceMs: isDraining ? drainSinceMs : sinceMs,
          health: state,
          healthSinceMs: sinceMs,
          connections: stat?.connections ?? 0,
          total: stat?.total ?? 0,
        };
      }),
    ),
  };
}

const noTraffic: ListenerCounters = { connections: 0, total: 0, bytesIn: 0, bytesOut: 0, refused: 0 };

/** The counters of the listeners of HAProxy among `keys`, or of all. Throws `RuntimeError` if it does not answer. */
export async function readCounters(
  api: RuntimeApi,
  desired: Desired | undefined,
  keys: readonly ListenerKey[] | undefined,
  signal: AbortSignal,
): Promise<ReadonlyMap<ListenerKey, ListenerCounters>> {
  const table = desired?.table.listeners;
  const asked = keys === undefined ? [...(table?.values() ?? [])] : keys.flatMap((key) => table?.get(key) ?? []);
  const listeners = asked.filter(usesHaproxy);
  const commands =
    keys === undefined
      ? ['show table services']
      : listeners.map((listener) => `show table services key ${entryKey(listener)}`);
  const rows = (await api.ask(commands, signal)).flatMap(parseTable);
  const counters = new Map(rows.map(({ key, ...row }) => [key, row]));
  // A listener without a connection has no row yet.
  return new Map(listeners.map((listener) => [listener.key, counters.get(entryKey(listener)) ?? noTraffic]));
}

/** The connections of each node through all backends, by its server in that of all nodes. */
function sumByNode(stats: readonly ServerStat[]): ReadonlyMap<string, Pick<ServerStat, 'connections' | 'total'>> {
  const sums = new Map<string, { connections: number; total: number }>();
  for (const { backend, server, connections, total } of stats) {
    const id = `${nodesOf(backend)}/${nodeOfServer(server)}`;
    const sum = sums.get(id) ?? { connections: 0, total: 0 };
    sums.set(id, { connections: sum.connections + connections, total: sum.total + total });
  }
  return sums;
}
