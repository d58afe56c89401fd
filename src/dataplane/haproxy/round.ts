import type { Family } from '../../core/ip/ip.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { ServerState } from '../../ports/proxy.ts';
import { parseInfo, parseStat, type ServerStat } from './answers.ts';
import { type FamilyHealth, isOfNode, orderCommands } from './health.ts';
import type { Held } from './held.ts';
import type { Keeper } from './keeper.ts';
import type { OldWorkers } from './old-workers.ts';
import type { Runtime } from './runtime.ts';
import type { Serial } from '../../async/serial.ts';
import type { NodeServer } from './servers.ts';

const families: readonly Family[] = [4, 6];
const serverStates: readonly ServerState[] = ['up', 'drain', 'unhealthy', 'silent'];

/** `show stat` of the shared backends only: cheap each second, as that of thousands of slots would not be. */
export const statCommands: readonly string[] = families.map((family) => `show stat nodes${family} 4 -1`);

/** What is due each second: reads the verdicts on the nodes, acts on them, sets the gauges, saves the map. */
export function makeRound(deps: {
  readonly runtime: Runtime;
  readonly keeper: Keeper;
  readonly oldWorkers: OldWorkers;
  readonly health: { readonly [F in Family]: FamilyHealth };
  readonly serial: Serial;
  readonly metrics: Metrics;
}): (signal: AbortSignal) => Promise<'serves' | 'idle'> {
  const { runtime, keeper, oldWorkers, health, serial, metrics } = deps;
  const servers = metrics.gauge('furiwake_servers', 'Nodes, once per family, in each state', ['state']);
  const connections = metrics.gauge('furiwake_connections', 'Client connections that HAProxy holds');

  const show = (nodes: Readonly<Record<Family, readonly NodeServer[]>>, stats: readonly ServerStat[][]): void => {
    const counts = new Map(serverStates.map((state) => [state, 0]));
    for (const [index, family] of families.entries()) {
      const byNode = new Map((stats[index] ?? []).map((stat) => [stat.server, stat]));
      for (const node of nodes[family]) {
        const state = health[family].stateOf(node, byNode.get(node.node));
        counts.set(state, (counts.get(state) ?? 0) + 1);
      }
    }
    for (const [state, count] of counts) servers.set(count, { state });
  };

  return async (signal) => {
    const nodes = keeper.desired()?.servers.nodes;
    if (nodes === undefined) return 'idle';
    const [info = '', ...answers] = await runtime.ask(['show info', ...statCommands], signal);
    const process = parseInfo(info);
    const stats = answers.map((answer) => [...parseStat(answer)]);
    // Probing may take half a second: not in the queue.
    const orders = await Promise.all(
      families.map((family, index) => health[family].round(nodes[family], stats[index] ?? [], signal)),
    );
    const commands = (held: Held): readonly string[] =>
      families.flatMap((family, index) => orderCommands(orders[index], family, held.servers));
    try {
      await serial(() => keeper.tend(process.pid, commands, signal));
    } catch (error) {
      for (const family of families) health[family].forgetOrders();
      throw error;
    }
    if (orders.some(({ dead }) => dead.length > 0)) {
      const isDead = (backend: string, server: string): boolean =>
        families.some((family, index) => orders[index]?.dead.some((node) => isOfNode(node, family, backend, server)));
      await oldWorkers.endConnections(isDead, signal);
    }
    show(nodes, stats);
    connections.set(process.connections);
    await serial(() => keeper.save());
    return 'serves';
  };
}
