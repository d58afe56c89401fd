import { families } from '../../../core/ip/ip.ts';
import { nodesBackend, usesHaproxy } from '../../../core/traffic/table.ts';
import type { FamilyHealths } from '../../../ports/health.ts';
import type { ListenerKey, ServiceKey } from '../../../core/model/names.ts';
import type { ListenerCounters, MeasuredServers, ProxyObservation, ServerCounters } from '../../../ports/proxy.ts';
import { parseInfo, parseStat, parseTable, type ServerStat } from './answers.ts';
import type { RuntimeApi } from './client.ts';
import type { Desired } from '../config/desired.ts';
import { entryKey } from '../config/entries.ts';
import { statCommands } from '../checks/health-tick.ts';
import type { OldWorkers } from '../process/old-workers.ts';
import { nodesOf, ownerOf, type SpareName } from '../config/pools.ts';
import { nodeBehind, nodesOfPods, type PodNodes, type SpareServer } from '../config/spare-servers.ts';

/** The data about HAProxy for `furiwake status`. Throws `RuntimeError` if it does not answer. */
export async function observeProxy(
  api: RuntimeApi,
  desired: Desired | undefined,
  health: FamilyHealths,
  oldWorkers: Pick<OldWorkers, 'ask' | 'connections' | 'find' | 'known'>,
  signal: AbortSignal,
): Promise<ProxyObservation> {
  const spares = Array.from(desired?.spares.servers.keys() ?? [], (name) => `show stat ${name} 4 -1`);
  await oldWorkers.find(signal);
  const [[info = '', ...answers], old, oldConnections] = await Promise.all([
    api.ask(['show info', ...statCommands, ...spares], signal),
    oldWorkers.ask('show stat -1 4 -1', signal),
    oldWorkers.connections(signal),
  ]);
  const process = parseInfo(info);
  const pods = desired === undefined ? new Map() : nodesOfPods(desired.spares);
  const stats = sumByNode(answers.flatMap(parseStat), pods);
  const oldStats = sumByNode(old.flatMap(parseStat), pods);
  return {
    pid: process.pid,
    version: process.version,
    connections: process.connections,
    maxConnections: process.maxConnections,
    upSeconds: process.upSeconds,
    oldWorkers: oldWorkers.known().length,
    oldConnections,
    servers: families.flatMap((family) =>
      (desired?.servers[family] ?? []).map(({ node, address, isDraining }) => {
        const id = `${nodesBackend(family)}/${node}`;
        const stat = stats.get(id);
        const { state, sinceMs, drainSinceMs } = health[family].stateOf(node);
        return {
          node,
          family,
          address: address.text,
          state: isDraining ? 'drain' : state,
          sinceMs: isDraining ? drainSinceMs : sinceMs,
          health: state,
          healthSinceMs: sinceMs,
          connections: (stat?.connections ?? 0) + (oldStats.get(id)?.connections ?? 0),
          total: stat?.total ?? 0,
        };
      }),
    ),
  };
}

const noTraffic: ListenerCounters = { connections: 0, total: 0, bytesIn: 0, bytesOut: 0, refused: 0 };

/**
 * The counters of the listeners of HAProxy among `keys`, or of all. The connections are also those of old workers, the totals are not.
 * Throws `RuntimeError` if it does not answer.
 */
export async function readCounters(
  api: RuntimeApi,
  desired: Desired | undefined,
  {
    keys,
    oldWorkers,
  }: { readonly keys: readonly ListenerKey[] | undefined; readonly oldWorkers: Pick<OldWorkers, 'ask' | 'find'> },
  signal: AbortSignal,
): Promise<ReadonlyMap<ListenerKey, ListenerCounters>> {
  const table = desired?.table.listeners;
  const asked = keys === undefined ? [...(table?.values() ?? [])] : keys.flatMap((key) => table?.get(key) ?? []);
  const listeners = asked.filter(usesHaproxy);
  const commands =
    keys === undefined
      ? ['show table services']
      : listeners.map((listener) => `show table services key ${entryKey(listener)}`);
  await oldWorkers.find(signal);
  const [answers, old] = await Promise.all([
    api.ask(commands, signal),
    oldWorkers.ask('show table services data.conn_cur gt 0', signal),
  ]);
  const counters = new Map(answers.flatMap(parseTable).map(({ key, ...row }) => [key, row]));
  for (const { key, connections } of old.flatMap(parseTable)) {
    const counted = counters.get(key) ?? noTraffic;
    counters.set(key, { ...counted, connections: counted.connections + connections });
  }
  // A listener without a connection has no row yet.
  return new Map(listeners.map((listener) => [listener.key, counters.get(entryKey(listener)) ?? noTraffic]));
}

/** A backend with three servers costs HAProxy 0.06 ms: 30 ms for all. */
const mostMeasured = 500;

/** The counters of the servers of listeners that are measured. Throws `RuntimeError` if HAProxy does not answer. */
export async function readServerCounters(
  api: RuntimeApi,
  desired: Desired | undefined,
  signal: AbortSignal,
): Promise<MeasuredServers> {
  if (desired === undefined) return { servers: [], queued: new Map(), omitted: 0 };
  const { spares, table } = desired;
  const services = new Map<SpareName, ServiceKey>();
  for (const listener of table.listeners.values()) {
    const name = listener.options?.isMeasured === true ? spares.names.get(ownerOf(listener)) : undefined;
    if (name !== undefined) services.set(name, listener.service);
  }
  const names = [...services.keys()].toSorted();
  const asked = names.slice(0, mostMeasured);
  const answers = await api.ask(
    asked.map((name) => `show stat ${name} 6 -1`), // the backend, and its servers
    signal,
  );
  const queued = new Map<ServiceKey, number>();
  const sums = new Map<string, ServerCounters>();
  for (const [index, name] of asked.entries()) {
    const service = services.get(name) ?? ('' as ServiceKey);
    const servers = new Map<string, SpareServer>(spares.servers.get(name)?.map((each) => [each.name, each]));
    for (const stat of parseStat(answers[index] ?? '')) {
      queued.set(service, (queued.get(service) ?? 0) + stat.queued);
      const known = servers.get(stat.server);
      if (known === undefined) continue; // removed, with its last connections
      const server = known.isPod ? known.address.text : (known.node ?? '');
      const sum = sums.get(`${service} ${server}`) ?? { connections: 0, total: 0, errors: 0 };
      sums.set(`${service} ${server}`, {
        service,
        server,
        connections: sum.connections + stat.connections,
        total: sum.total + stat.total,
        errors: sum.errors + stat.errors,
      });
    }
  }
  return { servers: [...sums.values()], queued, omitted: names.length - asked.length };
}

/** The connections of each node and its Pods through all backends, by its server in that of all nodes. */
function sumByNode(
  stats: readonly ServerStat[],
  pods: PodNodes,
): ReadonlyMap<string, Pick<ServerStat, 'connections' | 'total'>> {
  const sums = new Map<string, { connections: number; total: number }>();
  for (const { backend, server, connections, total } of stats) {
    const id = `${nodesOf(backend)}/${nodeBehind(server, pods)}`;
    const sum = sums.get(id) ?? { connections: 0, total: 0 };
    sums.set(id, { connections: sum.connections + connections, total: sum.total + total });
  }
  return sums;
}
