import type { Serial } from '../../async/serial.ts';
import type { NodeName } from '../../core/model/names.ts';
import { nodesBackend } from '../../core/traffic/table.ts';
import type { FamilyHealth } from '../../ports/health.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { ServerState } from '../../ports/proxy.ts';
import { parseInfo, parseStat } from './answers.ts';
import { checkedNodes, goneNodes, orderCommands, statCommands } from './checks.ts';
import type { RuntimeApi } from './client.ts';
import type { OldWorkers } from './old-workers.ts';
import type { Reconciler } from './reconciler.ts';

const families = [4, 6] as const;
const states: readonly ServerState[] = ['up', 'drain', 'unhealthy', 'silent'];

/**
 * What is due each second: takes HAProxy's checks to the health module, carries out its orders, sets the metrics. False
 * when no process is wanted. Throws `RuntimeError` when HAProxy does not answer.
 */
export function makeHealthTick(deps: {
  readonly api: RuntimeApi;
  readonly reconciler: Reconciler;
  readonly oldWorkers: OldWorkers;
  readonly health: { readonly 4: FamilyHealth; readonly 6: FamilyHealth };
  readonly metrics: Metrics;
}): (inTurn: Serial, signal: AbortSignal) => Promise<boolean> {
  const { api, reconciler, oldWorkers, health, metrics } = deps;
  const serverGauge = metrics.gauge('furiwake_servers', 'Nodes, once per family, in each state', ['state']);
  const connections = metrics.gauge('furiwake_connections', 'Client connections that HAProxy holds');

  return async (inTurn, signal) => {
    const servers = reconciler.desired()?.servers;
    if (servers === undefined) return false;
    const [info = '', ...answers] = await api.ask(['show info', ...statCommands], signal);
    const process = parseInfo(info);
    // Probing may take half a second: not in the turn of changes.
    const orders = await Promise.all(
      families.map((family, index) => {
        const stats = parseStat(answers[index] ?? '');
        const nodes = new Map(servers[family].map(({ node, address }) => [node, address]));
        const findings = { nodes, gone: goneNodes(servers[family], stats), checks: checkedNodes(stats) };
        return health[family].round(findings, signal);
      }),
    );
    const commands = families.flatMap((family, index) =>
      orders[index] === undefined ? [] : orderCommands(orders[index], family),
    );
    try {
      await inTurn(() => reconciler.tend(process.pid, commands, signal));
    } catch (error) {
      for (const family of families) health[family].forgetOrders();
      throw error;
    }
    const dead = new Set(
      families.flatMap((family, index) =>
        (orders[index]?.dead ?? []).map((node: NodeName) => `${nodesBackend(family)}/${node}`),
      ),
    );
    if (dead.size > 0) await oldWorkers.endConnections((backend, server) => dead.has(`${backend}/${server}`), signal);
    for (const state of states) {
      const inState = families.flatMap((family) =>
        servers[family].filter(
          ({ node, isDraining }) => (isDraining ? 'drain' : health[family].stateOf(node).state) === state,
        ),
      );
      serverGauge.set(inState.length, { state });
    }
    connections.set(process.connections);
    return true;
  };
}
