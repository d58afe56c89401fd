import { makePacedRepairs } from '../../../async/paced-repairs.ts';
import type { Serial } from '../../../async/serial.ts';
import { families, type Family, type Ip, parseIp } from '../../../core/ip/ip.ts';
import type { NodeName } from '../../../core/model/names.ts';
import { nodesBackend } from '../../../core/traffic/table.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { CheckAnswer, CheckedNode, FamilyHealths, HealthOrders } from '../../../ports/health.ts';
import type { Log } from '../../../ports/log.ts';
import type { Metrics } from '../../../ports/metrics.ts';
import type { ServerState } from '../../../ports/proxy.ts';
import { acceptanceCommand, acceptanceRepairs, isShut } from '../runtime/acceptance.ts';
import { parseInfo, parseStat, type ProcessInfo, type ServerStat } from '../runtime/answers.ts';
import type { RuntimeSession } from '../runtime/session.ts';
import { type NodeServer, serverId } from '../config/node-servers.ts';
import { nodesAmong } from '../config/desired.ts';
import type { DrainLimits } from '../runtime/drain-limits.ts';
import type { OldWorkers, Session } from '../process/old-workers.ts';
import type { OwnChecks } from './own-checks.ts';
import type { Reconciler } from '../reconciler.ts';
import { nodesOf } from '../config/pools.ts';
import { nodeBehind, nodesOfPods } from '../config/spare-servers.ts';

const states: readonly ServerState[] = ['up', 'drain', 'unhealthy', 'silent'];

type NodeOfFamily = Pick<NodeServer, 'family' | 'node'>;

/** `show stat` of the backends of nodes. */
export const statCommands: readonly string[] = families.map((family) => `show stat ${nodesBackend(family)} 4 -1`);

/**
 * The tasks of each second: restores what HAProxy accepts, passes the results of its checks to the health module, executes its
 * orders, sets the metrics, counts old workers, reads the results of the checks that servers have of their own. False if no process
 * must run. Throws `RuntimeError` if HAProxy does not answer.
 */
export function makeHealthTick(deps: {
  readonly session: RuntimeSession;
  readonly reconciler: Reconciler;
  readonly ownChecks: Pick<OwnChecks, 'look'>;
  readonly drainLimits: DrainLimits;
  readonly oldWorkers: Pick<OldWorkers, 'connections' | 'end' | 'mayRun' | 'watch'>;
  readonly health: FamilyHealths;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}): (inTurn: Serial, signal: AbortSignal) => Promise<boolean> {
  const { session, reconciler, ownChecks, drainLimits, oldWorkers, health, clock, log, metrics } = deps;
  const repaired = makePacedRepairs({ what: 'what HAProxy accepts', clock, log });
  const serverGauge = metrics.gauge('furiwake_servers', 'Nodes, once per family, in each state', ['state']);
  const connections = metrics.gauge('furiwake_connections', 'Client connections that HAProxy holds');

  const look = async (signal: AbortSignal): Promise<{ process: ProcessInfo; acceptance: string; stats: string[] }> => {
    const [info = '', acceptance = '', ...stats] = await session.ask(
      ['show info', acceptanceCommand, ...statCommands],
      signal,
    );
    return { process: parseInfo(info), acceptance, stats };
  };

  /** Without those that HAProxy has taken back meanwhile: their new connections must not end with the old ones. */
  const stillDead = async (dead: readonly NodeOfFamily[], signal: AbortSignal): Promise<readonly NodeOfFamily[]> => {
    if (dead.length === 0) return [];
    session.close(); // a reload may have replaced its worker since
    const answers = await session.ask(statCommands, signal);
    const stats = new Map(families.map((family, index) => [family, parseStat(answers[index] ?? '')]));
    return dead.filter(
      ({ family, node }) =>
        !(health[family].isChecked() && stats.get(family)?.some((stat) => stat.server === node && isUp(stat))),
    );
  };

  return async (inTurn, signal) => {
    const wanted = reconciler.desired();
    if (wanted === undefined) return false;
    const { servers, program } = wanted;
    let found = await look(signal);
    if (found.process.isStopping) {
      session.close();
      found = await look(signal);
    }
    const { process, acceptance, stats: answers } = found;
    const repairs = acceptanceRepairs(process, acceptance, program);
    const isClosed = isShut(acceptance);
    if (repairs.length > 0 || isClosed) {
      repaired({ commands: repairs.join('; ') }); // each second at most
    }
    const down = new Set<string>();
    // Probing may take half a second, so it must not block changes.
    const orders = await Promise.all(
      families.map((family, index) => {
        const { nodes, draining } = nodesAmong(servers[family]);
        // A removed node in maintenance is one that HAProxy cannot delete; it has no connections.
        const stats = parseStat(answers[index] ?? '').filter(
          ({ server, status }) => nodes.has(server as NodeName) || !status.startsWith('MAINT'),
        );
        for (const stat of stats) if (!isUp(stat)) down.add(serverId({ family, node: stat.server as NodeName }));
        const findings = { nodes, draining, gone: goneNodes(servers[family], stats), checks: checkedNodes(stats) };
        return health[family].round(findings, signal);
      }),
    );
    for (const [index, family] of families.entries())
      for (const [node, isOut] of orders[index]?.out ?? [])
        if (isOut) down.add(serverId({ family, node }));
        else down.delete(serverId({ family, node }));
    const dead = families.flatMap((family, index) => (orders[index]?.dead ?? []).map((node) => ({ family, node })));
    const orderedCommands = families.flatMap((family, index) => orderCommands(orders[index], family));
    const silent = new Set(
      families.flatMap((family, index) =>
        Array.from(orders[index]?.silent ?? [], (node) => serverId({ family, node })),
      ),
    );
    let ended: readonly NodeOfFamily[] = [];
    let overdue: readonly string[] = [];
    try {
      await inTurn(async () => {
        const commands = async (): Promise<readonly string[]> => {
          ended = await stillDead(dead, signal);
          overdue = drainLimits.overdue(reconciler.heldSpares(process.pid), oldWorkers.mayRun(process.pid));
          const ending = [...ended.flatMap(({ family, node }) => reconciler.serversOf(family, node)), ...overdue];
          return [...repairs, ...orderedCommands, ...ending.map((id) => `shutdown sessions server ${id}`)];
        };
        await reconciler.tend({ pid: process.pid, isShut: isClosed, commands, silent, down }, signal);
      });
    } catch (error) {
      for (const family of families) health[family].forgetOrders();
      throw error;
    }
    const endedNodes = new Set(ended.map(serverId));
    const pods = ended.length === 0 ? new Map() : nodesOfPods(wanted.spares);
    const isEnding = ({ backend, server }: Session): boolean =>
      endedNodes.has(`${nodesOf(backend)}/${nodeBehind(server, pods)}`) ||
      drainLimits.isOverdue(`${backend}/${server}`);
    const isAll = ended.length + overdue.length === 0 || (await oldWorkers.end(isEnding, signal));
    if (overdue.length > 0) drainLimits.ended(isAll);
    await oldWorkers.watch(process.pid, signal);
    for (const state of states) {
      const inState = families.flatMap((family) =>
        servers[family].filter(
          ({ node, isDraining }) => (isDraining ? 'drain' : health[family].stateOf(node).state) === state,
        ),
      );
      serverGauge.set(inState.length, { state });
    }
    connections.set(process.connections + (await oldWorkers.connections(signal)));
    const desired = reconciler.desired();
    if (desired !== undefined) await ownChecks.look(desired, signal);
    return true;
  };
}

/** The results of HAProxy's checks, by node. */
function checkedNodes(stats: readonly ServerStat[]): ReadonlyMap<NodeName, CheckedNode> {
  return new Map(stats.map((stat) => [stat.server as NodeName, { isUp: isUp(stat), answer: answerOf(stat) }]));
}

/** The nodes that HAProxy still has and the table no longer has. */
function goneNodes(nodes: readonly NodeServer[], stats: readonly ServerStat[]): ReadonlyMap<NodeName, Ip> {
  const wanted = new Set<string>(nodes.map(({ node }) => node));
  const gone = new Map<NodeName, Ip>();
  for (const { server, address } of stats) {
    if (wanted.has(server)) continue;
    const ip = parseIp(address);
    if (ip !== undefined) gone.set(server as NodeName, ip);
  }
  return gone;
}

/** The runtime commands that take nodes out of use, or into use again; the servers of spare backends follow. */
function orderCommands(orders: HealthOrders | undefined, family: Family): readonly string[] {
  return Array.from(
    orders?.out ?? [],
    ([node, isOut]) => `set server ${serverId({ family, node })} health ${isOut ? 'down' : 'up'}`,
  );
}

/** `UP`, `UP 1/2` on its way down, and `no check`. `DRAIN` is a server that is up and drains; one that is down shows `DOWN`. */
function isUp({ status }: ServerStat): boolean {
  return status.startsWith('UP') || status.startsWith('DRAIN') || status === 'no check';
}

/** The result of the last check, with `* ` while the next one is running; `undefined` if it is not known. */
export function answerOf(stat: Pick<ServerStat, 'checkStatus' | 'lastCheck'>): CheckAnswer | undefined {
  const status = stat.checkStatus.replace(/^\* /, '');
  switch (status) {
    case 'L7OK':
    case 'L7OKC':
      return 'ok';
    case 'L7STS':
      return 'unhealthy';
    case 'L7RSP': // not HTTP
    case 'L7TOUT': // accepted, then no answer
    case 'L6RSP':
    case 'L6TOUT':
      return 'alive';
    case 'L4TOUT':
      return 'silent';
    case 'L4CON':
      // A running check has cleared the system's message.
      if (status !== stat.checkStatus) return undefined;
      return /refused|reset/i.test(stat.lastCheck) ? 'alive' : 'silent'; // otherwise: no route to it
    default:
      return undefined; // INI, SOCKERR (this host lacks something), UNK
  }
}
