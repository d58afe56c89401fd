import { makeTrouble } from '../../async/trouble.ts';
import type { Family } from '../../core/ip/ip.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { nodesBackend, type TrafficTable } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Files } from '../../ports/files.ts';
import type { Refusals } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { RuntimeApi } from './client.ts';
import { programId, renderConfig, type Servers, serversOf } from './config.ts';
import { type Entries, type Entry, entryOf } from './entries.ts';
import { ConfigRefusedError, RuntimeError, unlessUnreachable } from './errors.ts';
import type { HaproxyFiles } from './haproxy-files.ts';
import type { HaproxyProcess } from './process.ts';
import { capOf, type Settings } from './settings.ts';
import { applyRemovals, applyUpserts, type Applied, type Held, readHeld, removeLeftovers } from './worker.ts';

/** What HAProxy shall be for one table. */
export type Desired = {
  readonly table: TrafficTable;
  readonly servers: Servers;
  /** The listeners that HAProxy can serve. */
  readonly entries: Entries;
  readonly refusals: Refusals<ListenerKey>;
  readonly config: string;
};

/**
 * Keeps one HAProxy at one table; one call at a time.
 *
 *   table ─► desired (pure) ─► configuration file ─► the worker: commands for what differs from what it holds
 *                                                    └► none: started on the files · another program: reloaded on them
 *
 * The map file follows each second, and before a start or a reload. Each call makes one attempt to have a process that
 * answers; a caller that repeats it must wait longer each time.
 */
export type Reconciler = {
  desired(): Desired | undefined;
  upsert(table: TrafficTable, signal: AbortSignal): Promise<Refusals<ListenerKey>>;
  prune(table: TrafficTable, signal: AbortSignal): Promise<void>;
  /** The number of differences that were repaired. */
  audit(table: TrafficTable, signal: AbortSignal): Promise<number>;
  /** One attempt to have a process that serves, with all of the last table. `idle`: none is wanted. */
  revive(signal: AbortSignal): Promise<'serves' | 'busy' | 'started' | 'idle'>;
  /**
   * Between changes: brings the health checks to where the health module has them, gives `commands`, tries again to
   * delete servers. `pid`: the worker that serves; another one than is known comes from an external reload.
   */
  tend(pid: number, commands: readonly string[], signal: AbortSignal): Promise<void>;
  /** Writes the map file if it differs; a failure is logged. */
  save(): Promise<void>;
  stop(signal: AbortSignal): Promise<void>;
};

export type ReconcilerDeps = {
  readonly settings: Settings;
  readonly map: string;
  readonly api: RuntimeApi;
  readonly process: HaproxyProcess;
  readonly haproxyFiles: HaproxyFiles;
  readonly files: Files;
  /** Whether HAProxy's own checks decide for a family. */
  readonly isChecked: (family: Family) => boolean;
  /** Called before the first nodes of a family are given to HAProxy, and with what an adopted process was left with. */
  readonly health: {
    survey(servers: Servers, signal: AbortSignal): Promise<void>;
    adopt(family: Family, isChecked: boolean): void;
  };
  /** Called with each worker that is met for the first time. */
  readonly onWorker: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

export function makeReconciler(deps: ReconcilerDeps): Reconciler {
  const { settings, map, api, process, haproxyFiles, files, health, clock, log } = deps;
  const reloads = deps.metrics.counter('furiwake_reloads_total', 'Reloads of HAProxy');
  const restarts = deps.metrics.counter(
    'furiwake_haproxy_restarts_total',
    'Starts of HAProxy after it had died or hung',
  );
  const program = programId(settings);
  const mapTrouble = makeTrouble({ what: 'writing the map file', log, monotonic: () => clock.monotonic() });
  const configTrouble = makeTrouble({
    what: 'writing the configuration of HAProxy',
    log,
    monotonic: () => clock.monotonic(),
  });
  const nodeTrouble = makeTrouble({ what: 'adding a node to HAProxy', log, monotonic: () => clock.monotonic() });

  let desired: Desired | undefined;
  /** `undefined`: not known for certain, to be read before the next change. */
  let held: Held | undefined;
  let pid: number | undefined;
  let hasRun = false;

  const read = async (signal: AbortSignal): Promise<Held> => {
    held = await readHeld(api, map, signal);
    if (held.pid !== pid) {
      pid = held.pid;
      deps.onWorker();
    }
    return held;
  };

  /** A full disk is no reason to serve nobody: the entries that the map on it lacks come by commands. */
  const save = async (): Promise<void> => {
    try {
      await haproxyFiles.saveMap();
      mapTrouble.over();
    } catch (error) {
      mapTrouble.failed(error);
    }
  };

  /** Plans, and writes the configuration. A configuration that is refused changes nothing. */
  const settle = async (table: TrafficTable, signal: AbortSignal): Promise<Desired> => {
    if (desired?.table === table) return desired;
    const next = planDesired(settings, table, desired);
    try {
      if (desired === undefined) await files.makeFolder(settings.folder);
      await haproxyFiles.put(next, signal);
      configTrouble.over();
    } catch (error) {
      // A worker that runs takes its servers by commands; the file is written at the next audit.
      if (error instanceof ConfigRefusedError || held === undefined) throw error;
      signal.throwIfAborted();
      configTrouble.failed(error);
    }
    desired = next;
    return next;
  };

  /** One attempt to have a worker that runs the program, and what it holds. */
  const bring = async (signal: AbortSignal): Promise<Held> => {
    let present = held ?? (await read(signal).catch(unlessUnreachable));
    if (present === undefined) {
      const outcome = await revive(signal);
      if (outcome === 'busy') throw new RuntimeError('HAProxy serves, but its command socket does not answer');
      present = held ?? (await read(signal));
    }
    if (present.program === program) return present;
    log.info({}, 'HAProxy runs another program: reloading it');
    await save();
    await process.reload(program, signal);
    reloads.add(1);
    return await read(signal);
  };

  const revive: Reconciler['revive'] = async (signal) => {
    if (desired === undefined) return 'idle';
    held = undefined;
    await save();
    const recovered = await process.recover(program, signal);
    if (recovered.how === 'busy') return 'busy';
    const present = await read(signal);
    if (recovered.how === 'serves') {
      if (!hasRun) adopt(present);
      hasRun = true;
      return 'serves';
    }
    const { pid: newPid, version, maxConnections } = recovered.info;
    if (hasRun) {
      restarts.add(1);
      log.warn({ pid: newPid }, 'HAProxy exited unexpectedly and was restarted; its connections are lost');
    } else log.info({ pid: newPid, version, maxConnections }, 'HAProxy started');
    hasRun = true;
    return recovered.how === 'started' ? 'started' : 'serves';
  };

  /** A process that an earlier furiwake left. */
  const adopt = (present: Held): void => {
    for (const family of [4, 6] as const) {
      const nodes = [...(present.servers.get(nodesBackend(family))?.values() ?? [])];
      if (nodes.length > 0)
        health.adopt(
          family,
          nodes.some(({ isChecked }) => isChecked),
        );
    }
    log.info(
      { pid: present.pid, listeners: present.entries.values.size },
      'took over the running HAProxy; connections preserved',
    );
  };

  /**
   * Does `work` on what the worker holds; once more where it died meanwhile, or holds something else than was known.
   * Afterwards what it refused is read anew before the next change.
   */
  const apply = async (signal: AbortSignal, work: (present: Held) => Promise<Applied>): Promise<Applied> => {
    const attempt = async (): Promise<Applied> => {
      const present = await bring(signal);
      held = undefined; // until all of it is acknowledged
      return await work(present);
    };
    const wasKnown = held !== undefined;
    let applied = await attempt().catch(unlessUnreachable);
    if (applied === undefined || (wasKnown && isRefused(applied))) applied = await attempt();
    if (!isRefused(applied)) held = applied.held;
    const [refusal] = applied.refusedNodes;
    if (refusal === undefined) nodeTrouble.over();
    else nodeTrouble.failed(new Error(refusal[1]), { node: refusal[0] });
    return applied;
  };

  const upsertTo = async (next: Desired, signal: AbortSignal): Promise<Applied> => {
    await health.survey(next.servers, signal);
    return await apply(signal, (present) => applyUpserts(deps, present, next, signal));
  };

  const pruneTo = (next: Desired, signal: AbortSignal): Promise<Applied> =>
    apply(signal, (present) => applyRemovals(deps, present, next, signal));

  return {
    desired: () => desired,
    revive: async (signal) => {
      const outcome = await revive(signal);
      if (outcome === 'started' && desired !== undefined) await upsertTo(desired, signal);
      return outcome;
    },
    upsert: async (table, signal) => {
      const next = await settle(table, signal);
      const { refusedKeys } = await upsertTo(next, signal);
      if (refusedKeys.size === 0) return next.refusals;
      const refusals = new Map(next.refusals);
      for (const [listener, { key }] of next.entries) {
        const words = refusedKeys.get(key);
        if (words !== undefined) refusals.set(listener, `HAProxy: ${words}`);
      }
      return refusals;
    },
    prune: async (table, signal) => {
      await pruneTo(await settle(table, signal), signal);
    },
    audit: async (table, signal) => {
      const next = await settle(table, signal);
      const repaired = await haproxyFiles.repair(next, signal);
      held = undefined;
      const added = await upsertTo(next, signal);
      const removed = await pruneTo(next, signal);
      return repaired + added.changes + removed.changes;
    },
    tend: async (serving, commands, signal) => {
      if (desired === undefined) return;
      if (held?.pid !== serving) held = undefined;
      const next = desired;
      await apply(signal, (present) => applyUpserts(deps, present, next, signal));
      if (held === undefined) return;
      await api.ask(commands, signal); // a server that is gone meanwhile is not an error
      held = { ...held, servers: await removeLeftovers(api, held.servers, next.servers, signal) };
    },
    save: async () => {
      if (desired !== undefined) await save();
    },
    stop: async (signal) => {
      desired = undefined;
      held = undefined;
      await process.stop(signal);
    },
  };
}

function isRefused({ refusedKeys, refusedNodes }: Applied): boolean {
  return refusedKeys.size + refusedNodes.size > 0;
}

/** What HAProxy shall be for `table`, after `before`: parts that did not change keep their identity. */
export function planDesired(settings: Settings, table: TrafficTable, before: Desired | undefined): Desired {
  const cap = capOf(settings.maxConnections);
  const known = before?.table.listeners ?? PersistentMap.empty();
  const changes = new Map<ListenerKey, Entry | undefined>();
  const refusals = new Map(before?.refusals ?? []);
  for (const key of PersistentMap.changedKeys(known, table.listeners)) {
    const listener = table.listeners.get(key);
    const entry = listener && entryOf(listener, cap);
    refusals.delete(key);
    if (entry !== undefined && 'refusal' in entry) refusals.set(key, entry.refusal);
    changes.set(key, entry !== undefined && 'key' in entry ? entry : undefined);
  }
  const isSameServers =
    before !== undefined && before.table.nodes === table.nodes && before.table.backends === table.backends;
  const servers = isSameServers ? before.servers : serversOf(table);
  return {
    table,
    servers,
    entries: (before?.entries ?? PersistentMap.empty<ListenerKey, Entry>()).with(changes),
    refusals,
    config: isSameServers ? before.config : renderConfig(settings, servers),
  };
}
