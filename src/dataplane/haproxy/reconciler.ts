import { makeTrouble } from '../../async/trouble.ts';
import type { Family } from '../../core/ip/ip.ts';
import type { ListenerKey, NodeName } from '../../core/model/names.ts';
import { nodesBackend, type TrafficTable } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { FamilyHealths } from '../../ports/health.ts';
import type { Refusals } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { RuntimeError, type RuntimeApi, unlessGone, unlessUnreachable } from './client.ts';
import { type ProgramId, serverId, type Settings } from './config.ts';
import { type Desired, planDesired } from './desired.ts';
import { entryKey } from './entries.ts';
import type { HaproxyFiles } from './haproxy-files.ts';
import { makeMapSaver } from './map-saver.ts';
import type { HaproxyProcess } from './process.ts';
import { makeRefused } from './refused.ts';
import { makeReloads } from './reloads.ts';
import { podsOn } from './spare-servers.ts';
import { adoptedSpares } from './spares.ts';
import { type Declared, undeclared } from './undeclared.ts';
import { type Applied, applyRemovals, applyUpserts, type WorkerContents, readHeld, removeLeftovers } from './worker.ts';

/**
 * Keeps one HAProxy equal to one table; one call at a time.
 *
 *   table ─► desired (pure) ─► configuration file ─► the worker: commands for the differences
 *                                                    └► none: start with the files · another program: reload with them
 *
 * The map file is written at most once a second, and before a start or a reload. A file that cannot be written, or that
 * HAProxy refuses, matters only if a start or a reload needs it: a running worker gets all changes by commands. If a reload
 * fails, only the listeners that need it are refused.
 *
 * Each call makes one attempt to get an answering process; a caller that repeats it must wait longer each time.
 */
export type Reconciler = {
  desired(): Desired | undefined;
  /** `backend/server` of all servers that stand for this node in this family. */
  serversOf(family: Family, node: NodeName): readonly string[];
  upsert(table: TrafficTable, signal: AbortSignal): Promise<Refusals<ListenerKey>>;
  prune(table: TrafficTable, signal: AbortSignal): Promise<void>;
  /** Returns the number of repaired differences. Retries everything that HAProxy refused before. */
  audit(table: TrafficTable, signal: AbortSignal): Promise<number>;
  /** One attempt to get a serving process with the complete last table. `idle`: no process must run. */
  revive(signal: AbortSignal): Promise<'serves' | 'busy' | 'started' | 'idle'>;
  /**
   * Between changes: sets the health checks as the health module decided, sends `commands`, retries the deletion of
   * servers. `pid`: the serving worker; an unknown one is the result of an external reload.
   */
  tend(pid: number, commands: readonly string[], signal: AbortSignal): Promise<void>;
  /** Writes the map file if it differs. A failure is logged, and the next attempts wait. */
  save(): Promise<void>;
  stop(signal: AbortSignal): Promise<void>;
};

export type ReconcilerDeps = {
  readonly settings: Settings;
  readonly map: string;
  readonly api: RuntimeApi;
  readonly process: HaproxyProcess;
  readonly haproxyFiles: HaproxyFiles;
  readonly health: FamilyHealths;
  /** Called with each new worker. */
  readonly onWorker: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

const families = [4, 6] as const;

export function makeReconciler(deps: ReconcilerDeps): Reconciler {
  const { settings, map, api, process, haproxyFiles, health, clock, log, metrics } = deps;
  const worker = { api, map, isChecked: (family: Family) => health[family].isChecked() };
  const restarts = metrics.counter('furiwake_haproxy_restarts_total', 'Starts of HAProxy after it had died or hung');
  const lasting = (what: string): ReturnType<typeof makeTrouble> =>
    makeTrouble({ what, log, monotonic: () => clock.monotonic() });
  const mapSaver = makeMapSaver(deps);
  const configTrouble = lasting('writing the configuration of HAProxy');
  const reloads = makeReloads(deps);
  const nodeTrouble = lasting('adding nodes to HAProxy');

  let desired: Desired | undefined;
  let program = '' as ProgramId;
  /** What the last program declares that a worker was seen to run. */
  let declared: Declared | undefined;
  /** `undefined`: not known for certain, must be read before the next change. */
  let held: WorkerContents | undefined;
  let pid: number | undefined;
  let hasMet = false;
  let fileProblem: unknown;
  const refused = makeRefused();

  const read = async (signal: AbortSignal): Promise<WorkerContents> => {
    const present = await readHeld(api, map, signal);
    if (!hasMet) adopt(present);
    hasMet = true;
    if (present.pid !== pid) {
      for (const family of families) health[family].forgetOrders();
      deps.onWorker();
    }
    pid = present.pid;
    held = present;
    return present;
  };

  /** A process of an earlier furiwake. */
  const adopt = (present: WorkerContents): void => {
    for (const family of families) {
      const servers = [...(present.servers.get(nodesBackend(family))?.values() ?? [])];
      if (servers.length > 0) health[family].adopt(servers.some(({ isChecked }) => isChecked));
    }
    const listeners = present.entries.values.size;
    log.info({ pid: present.pid, listeners }, 'took over the running HAProxy; connections preserved');
  };

  const settle = async (table: TrafficTable, signal: AbortSignal): Promise<Desired> => {
    // The process of an earlier furiwake shows the state of the checks, and which backend has which spare one.
    if (!hasMet) await read(signal).catch(unlessUnreachable);
    if (desired?.table !== table) {
      const values = desired === undefined ? held?.entries.values : undefined;
      const adopted = adoptedSpares(table, (listener) => values?.get(entryKey(listener)));
      desired = planDesired(settings, table, desired, adopted);
    }
    ({ program } = desired);
    try {
      const words = await haproxyFiles.putConfig(desired, signal);
      fileProblem = undefined;
      if (words === undefined) configTrouble.over();
      else configTrouble.failed(new Error(`HAProxy refuses it because of its nodes: ${words}`));
    } catch (error) {
      signal.throwIfAborted();
      fileProblem = error;
      configTrouble.failed(error);
    }
    return desired;
  };

  /** Before a start or a reload: the program of the file. If the new one cannot be written, the last one will do. */
  const prepareFiles = async (): Promise<ProgramId> => {
    const written = haproxyFiles.program();
    const isWanted = fileProblem === undefined || written === program;
    if (!isWanted && (written === undefined || written !== declared?.program)) throw fileProblem;
    if (desired !== undefined) await mapSaver.save(desired);
    return isWanted ? program : (written ?? program);
  };

  /** Loads the program. If that fails, a worker with the last one keeps serving, and the next attempts wait. */
  const reload = async (present: WorkerContents, signal: AbortSignal): Promise<WorkerContents> => {
    const isUsable = present.program === declared?.program;
    if (isUsable && !reloads.isDue()) return present;
    held = undefined;
    try {
      if ((await prepareFiles()) !== program) throw fileProblem;
      await reloads.reload(program, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!isUsable) throw error;
      const now = await read(signal);
      if (now.program !== declared?.program) throw error;
      reloads.failed(error, error === fileProblem); // which has a line of its own
      return now;
    }
    return await read(signal);
  };

  /** One attempt to get a worker that runs the program, or the last one if the reload fails, with its contents. */
  const bring = async (signal: AbortSignal): Promise<WorkerContents> => {
    let present = held ?? (await read(signal).catch(unlessUnreachable));
    if (present === undefined) {
      if ((await recover(signal)) === 'busy')
        throw new RuntimeError('silent', 'HAProxy serves, but its command socket does not answer');
      present = held ?? (await read(signal));
    }
    if (present.program !== program) present = await reload(present, signal);
    if (present.program === program && desired !== undefined) declared = { program, sizes: desired.spares.sizes };
    return present;
  };

  const recover = async (signal: AbortSignal): Promise<'serves' | 'busy' | 'started'> => {
    held = undefined;
    const prepared = await prepareFiles();
    const wasSteady = process.isSteady();
    const outcome = await process.recover(prepared, signal);
    if (outcome === 'serves') await read(signal);
    if (outcome !== 'started') return outcome;
    const isFirst = !hasMet;
    hasMet = true;
    if (!isFirst) restarts.add(1);
    const { pid: started } = await read(signal);
    if (isFirst) log.info({ pid: started, maxConnections: settings.maxConnections }, 'HAProxy started');
    else {
      const level = wasSteady ? 'warn' : 'debug'; // `run` reports a process that exits repeatedly
      log[level]({ pid: started }, 'HAProxy exited unexpectedly and was restarted; its connections were lost');
    }
    return outcome;
  };

  /** What the worker that serves does not declare. */
  let missing: ReturnType<typeof undeclared> | undefined;
  const noteNodes = ({ unsafeNodes }: Desired): void => {
    const [unsafe] = unsafeNodes;
    const words =
      unsafe === undefined ? refused.server() : `the name ${JSON.stringify(unsafe)} is not a DNS subdomain name`;
    if (words === undefined) nodeTrouble.over();
    else nodeTrouble.failed(new Error(words));
  };

  /**
   * Does `work` on the contents of the worker; once more if it exited meanwhile, or refused a change that it accepts
   * after its state was read again.
   */
  const apply = async (next: Desired, work: typeof applyUpserts, signal: AbortSignal): Promise<Applied> => {
    let wasKnown = false;
    const attempt = async (): Promise<Applied> => {
      wasKnown = held !== undefined;
      const present = await bring(signal);
      held = undefined; // until all of it is acknowledged
      missing = present.program === program ? undefined : undeclared(next, declared);
      const applied = await work(
        worker,
        present,
        missing?.without(refused.without(next)) ?? refused.without(next),
        signal,
      );
      if (!isRefused(applied)) held = applied.held;
      return applied;
    };
    let applied = await attempt().catch(unlessGone);
    if (applied === undefined || (wasKnown && isRefused(applied))) applied = await attempt();
    refused.note(applied.refused, next);
    return applied;
  };

  const upsertTo = async (next: Desired, signal: AbortSignal): Promise<Applied> => {
    for (const family of families) {
      const nodes = new Map(next.servers[family].map(({ node, address }) => [node, address]));
      await health[family].survey(nodes, signal);
    }
    return await apply(next, applyUpserts, signal);
  };

  return {
    desired: () => desired,
    serversOf: (family, node) => [
      serverId({ family, node }),
      ...(held?.spares.serversOf(family, node) ?? []),
      ...(desired === undefined ? [] : podsOn(family, node, desired.spares)),
    ],
    revive: async (signal) => {
      if (desired === undefined) return 'idle';
      const outcome = await recover(signal);
      if (outcome === 'started') await upsertTo(desired, signal);
      return outcome;
    },
    upsert: async (table, signal) => {
      const next = await settle(table, signal);
      await upsertTo(next, signal);
      noteNodes(next);
      return new Map([...next.refusals, ...refused.listeners(), ...reloads.refusalsOf(missing?.listeners ?? [])]);
    },
    prune: async (table, signal) => {
      await apply(await settle(table, signal), applyRemovals, signal);
    },
    audit: async (table, signal) => {
      const files = desired === undefined ? 0 : await haproxyFiles.reread(desired);
      refused.clear();
      held = undefined;
      const next = await settle(table, signal);
      const added = await upsertTo(next, signal);
      noteNodes(next);
      const removed = await apply(next, applyRemovals, signal);
      await mapSaver.save(next);
      await process.clearPort(signal);
      return files + added.changes + removed.changes;
    },
    tend: async (serving, commands, signal) => {
      if (desired === undefined) return;
      if (held?.pid !== serving) held = undefined;
      const next = desired;
      const present = held ?? (await read(signal));
      if (present.program !== program && present.program !== declared?.program) return; // the next change reloads it
      await apply(next, applyUpserts, signal);
      await api.ask(commands, signal); // a server that was deleted meanwhile is not an error
      if (held === undefined) return; // a change was refused: what the worker holds must be read first
      const known = held;
      held = undefined; // until all of it is acknowledged
      await known.spares.removeLeftovers(next.spares.servers, api, signal);
      held = { ...known, servers: await removeLeftovers(api, known.servers, next.servers, signal) };
    },
    save: async () => {
      if (desired !== undefined && mapSaver.isDue()) await mapSaver.save(desired);
    },
    stop: async (signal) => {
      desired = undefined;
      held = undefined;
      await process.stop(signal);
    },
  };
}

function isRefused({ refused }: Applied): boolean {
  return refused.entries.size + refused.servers.size > 0;
}
