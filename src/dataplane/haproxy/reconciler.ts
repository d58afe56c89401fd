import { makeTrouble } from '../../async/trouble.ts';
import { messageOf } from '../../async/error-words.ts';
import { families, type Family } from '../../core/ip/ip.ts';
import type { ListenerKey, NodeName } from '../../core/model/names.ts';
import { isSameSet } from '../../core/persistent-map.ts';
import type { TrafficTable } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { FamilyHealths } from '../../ports/health.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { ProxyAbsentError, ProxyDownError, type Unprepared } from '../../ports/proxy.ts';
import { type RuntimeApi, RuntimeError, unlessGone, unlessUnreachable } from './runtime/client.ts';
import { type Settings } from './config/config.ts';
import { serverId } from './config/node-servers.ts';
import { type Desired, nodesAmong, planDesired } from './config/desired.ts';
import { entryKey } from './config/entries.ts';
import type { HaproxyFiles } from './config/haproxy-files.ts';
import type { HeldSpares } from './config/held-spares.ts';
import type { Life, Recovery } from './process/life.ts';
import { makeMapSaver } from './config/map-saver.ts';
import type { OldWorkers } from './process/old-workers.ts';
import type { HaproxyProcess } from './process/process.ts';
import { PortHeldError } from './process/port-owners.ts';
import { makeRefused } from './runtime/refused.ts';
import { makeReloads, type Reloads } from './process/reloads.ts';
import { makeServingWorker } from './process/serving-worker.ts';
import { podsOn, type SilentNodes } from './config/spare-servers.ts';
import { adoptedSpares } from './config/spares.ts';
import type { Undeclared, UndeclaredListener } from './runtime/undeclared.ts';
import {
  type Applied,
  applyRemovals,
  applyUpserts,
  removeLeftovers,
  removeSpareLeftovers,
  seemsToHold,
} from './runtime/worker.ts';

/**
 * Keeps one HAProxy equal to one table; one call at a time.
 *
 *   table ─► desired (pure) ─► configuration file ─► the worker: commands for the differences
 *                                                    └► none: start with the files · another program: reload with them
 *
 * The map file is written at most once a second, and before a start or a reload. A file that cannot be written, or that
 * HAProxy refuses, matters only if a start or a reload needs it: a running worker gets all changes by commands. If a reload
 * waits or fails, only the listeners that need it are refused.
 *
 * Each call makes one attempt to get an answering process; a caller that repeats it must wait longer each time.
 */
export type Reconciler = {
  desired(): Desired | undefined;
  /** `backend/server` of all servers that stand for this node in this family. */
  serversOf(family: Family, node: NodeName): readonly string[];
  /** The servers of spare backends that the worker `pid` has; `undefined`: not known at the moment, or another worker serves. */
  heldSpares(pid: number): HeldSpares | undefined;
  upsert(table: TrafficTable, signal: AbortSignal): Promise<Unprepared>;
  prune(table: TrafficTable, signal: AbortSignal): Promise<void>;
  /** Returns the number of repaired differences. Retries everything that HAProxy refused before. */
  audit(table: TrafficTable, signal: AbortSignal): Promise<number>;
  /** See `Proxy.check`. */
  check(table: TrafficTable, signal: AbortSignal): Promise<number>;
  /** One attempt to get a serving process with the complete last table. `idle`: no process must run. */
  revive(signal: AbortSignal): Promise<Recovery | 'idle'>;
  /** Between changes: sets the health checks as the health module decided, follows `round`, retries the deletion of servers. */
  tend(round: Round, signal: AbortSignal): Promise<void>;
  /** See `ServingWorker.rememberClients`. */
  rememberClients(signal: AbortSignal): Promise<void>;
  /** Writes the map file if it differs. A failure is logged, and the next attempts wait. */
  save(): Promise<void>;
  stop(signal: AbortSignal): Promise<boolean>;
};

/** What follows from one round of health checks. */
export type Round = {
  /** The serving worker; an unknown one is the result of an external reload. */
  readonly pid: number;
  /** It accepts no connections any more, and must be reloaded. */
  readonly isShut: boolean;
  /** Asked when the worker is as desired. */
  readonly commands: () => Promise<readonly string[]>;
  readonly silent: SilentNodes;
  /** The nodes that are not up in HAProxy after `commands`, by `serverId`. */
  readonly down: ReadonlySet<string>;
};

export type ReconcilerDeps = {
  readonly settings: Settings;
  readonly api: RuntimeApi;
  readonly process: HaproxyProcess;
  readonly life: Life;
  readonly oldWorkers: OldWorkers;
  readonly haproxyFiles: HaproxyFiles;
  readonly health: FamilyHealths;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** Between two audits: the list of sockets costs the kernel 10 ms, and only a program of root could share the port. */
const portMs = 300_000;

export function makeReconciler(deps: ReconcilerDeps): Reconciler {
  const { settings, api, process, life, haproxyFiles, health, clock, log } = deps;
  const changing = { api, isChecked: (family: Family) => health[family].isChecked() };
  const mapSaver = makeMapSaver(deps);
  const reloads = makeReloads(deps);
  const worker = makeServingWorker({ ...deps, mapSaver, reloads });
  const nodeTrouble = makeTrouble({ what: 'adding nodes to HAProxy', log, clock });
  const refused = makeRefused();
  let desired: Desired | undefined;

  const settle = async (table: TrafficTable, signal: AbortSignal): Promise<Desired> => {
    // The process of an earlier furiwake shows the state of the checks, and which backend has which spare one.
    await worker.meet(signal);
    if (desired?.table !== table) {
      const values = desired === undefined ? worker.held()?.entries.values : undefined;
      const adopted = values && adoptedSpares(table, (listener) => values.get(entryKey(listener)));
      desired = planDesired(settings, table, desired, undefined, adopted);
    }
    await worker.want(desired, signal);
    return desired;
  };

  /** What the worker that serves does not declare. */
  let undeclared: Undeclared | undefined;
  const noteNodes = ({ unsafeNodes }: Desired): void => {
    const [unsafe] = unsafeNodes;
    const words =
      unsafe === undefined ? refused.server() : `the name ${JSON.stringify(unsafe)} is not a DNS subdomain name`;
    if (words === undefined) nodeTrouble.over();
    else nodeTrouble.failed(words);
  };

  /** The result of `work`. If it fails because HAProxy takes no connections, the error says so. */
  const withCause = async <T>(work: Promise<T>, signal: AbortSignal): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      signal.throwIfAborted();
      const isLate = error instanceof RuntimeError && error.how === 'silent';
      if (!isLate && (await process.isAbsent(signal))) throw new ProxyAbsentError(messageOf(error), { cause: error });
      // It may have stopped to answer within `work`.
      if (life.isSilent() || (isLate && !(await process.answersRequests(signal))))
        throw new ProxyDownError(messageOf(error), { cause: error });
      throw error;
    }
  };

  /**
   * Does `work` on the contents of the worker; once more if it exited meanwhile, or refused a change that it accepts
   * after its state was read again.
   */
  const apply = async (next: Desired, work: typeof applyUpserts, signal: AbortSignal): Promise<Applied> => {
    let wasKnown = false;
    const attempt = async (): Promise<Applied> => {
      wasKnown = worker.held() !== undefined;
      const present = await worker.bring(signal);
      worker.hold(undefined); // until all of it is acknowledged
      undeclared = worker.undeclared(present, next);
      const applied = await work(
        changing,
        present,
        undeclared?.without(refused.without(next)) ?? refused.without(next),
        signal,
      );
      if (!isRefused(applied)) worker.hold(applied.held);
      return applied;
    };
    let applied = await attempt().catch(unlessGone);
    if (applied === undefined || (wasKnown && isRefused(applied))) applied = await attempt();
    refused.note(applied.refused, next);
    return applied;
  };

  const upsertTo = async (next: Desired, signal: AbortSignal): Promise<Applied> => {
    for (const family of families) {
      await health[family].survey(nodesAmong(next.servers[family]), signal);
    }
    return await apply(next, applyUpserts, signal);
  };

  let portClearedMs = -Infinity;
  const clearPort = async (signal: AbortSignal): Promise<void> => {
    try {
      await process.clearPort(signal);
    } catch (error) {
      life.notePort(error instanceof PortHeldError ? messageOf(error) : undefined);
      throw error;
    }
    life.notePort(undefined);
    portClearedMs = clock.monotonic();
  };

  const audit: Reconciler['audit'] = async (table, signal) => {
    const files = desired === undefined ? 0 : await haproxyFiles.reread(desired);
    refused.clear();
    worker.hold(undefined);
    const next = await settle(table, signal);
    const added = await upsertTo(next, signal);
    noteNodes(next);
    const removed = await apply(next, applyRemovals, signal);
    await mapSaver.save(next);
    await clearPort(signal);
    return files + added.changes + removed.changes;
  };

  return {
    desired: () => desired,
    serversOf: (family, node) => [
      serverId({ family, node }),
      ...(worker.held()?.spares.serversOf(family, node) ?? []),
      ...(desired === undefined ? [] : podsOn(family, node, desired.spares)),
    ],
    heldSpares: (pid) => {
      const held = worker.held();
      return held?.pid === pid ? held.spares : undefined;
    },
    revive: async (signal) => {
      if (desired === undefined) return 'idle';
      const outcome = await worker.recover(signal);
      if (outcome === 'new') {
        await upsertTo(desired, signal);
        await apply(desired, applyRemovals, signal); // the map on the disk may be an older one
      }
      return outcome;
    },
    upsert: async (table, signal) => {
      const next = await settle(table, signal);
      await withCause(upsertTo(next, signal), signal);
      noteNodes(next);
      const [refusals, deferred] = [
        new Map([...next.refusals, ...refused.listeners()]),
        new Map<ListenerKey, string>(),
      ];
      for (const each of undeclared?.listeners ?? [])
        (each.need.isForAll ? refusals : deferred).set(each.key, reloadWords(each, reloads));
      return { refused: refusals, deferred };
    },
    prune: async (table, signal) => {
      const next = await settle(table, signal);
      await withCause(apply(next, applyRemovals, signal), signal).catch((error: unknown) => {
        if (!(error instanceof ProxyAbsentError)) throw error;
      });
    },
    audit,
    check: async (table, signal) => {
      const held = worker.held();
      const isSame =
        desired?.table === table &&
        held !== undefined &&
        (await haproxyFiles.areThere()) &&
        (await seemsToHold(api, held, signal).catch(unlessUnreachable));
      if (isSame !== true) return await audit(table, signal);
      if (clock.monotonic() - portClearedMs >= portMs) await clearPort(signal);
      return 0;
    },
    tend: async ({ pid, isShut, commands, silent, down }, signal) => {
      if (desired === undefined) return;
      if (worker.held()?.pid !== pid || isShut) worker.hold(undefined);
      if (isShut) await worker.bring(signal);
      if (!isSameSet(silent, desired.silent)) desired = planDesired(settings, desired.table, desired, silent);
      const next = desired;
      if (!worker.isUsable(worker.held() ?? (await worker.read(signal))) && !worker.isReloadDue()) return;
      await apply(next, applyUpserts, signal);
      await api.ask(await commands(), signal); // a server that was deleted meanwhile is not an error
      const known = worker.held();
      if (known === undefined) return; // a change was refused: what the worker holds must be read first
      worker.hold(undefined); // until all of it is acknowledged
      await api.ask(known.spares.follow(down), signal);
      await removeSpareLeftovers(api, known, next, signal);
      worker.hold({ ...known, servers: await removeLeftovers(api, known.servers, next.servers, signal) });
    },
    rememberClients: (signal) => worker.rememberClients(signal),
    save: async () => {
      if (desired !== undefined && mapSaver.isDue()) await mapSaver.save(desired);
    },
    stop: async (signal) => {
      desired = undefined;
      worker.hold(undefined);
      return await life.stop(signal);
    },
  };
}

function reloadWords({ need, settings }: UndeclaredListener, reloads: Pick<Reloads, 'wait'>): string {
  const why = reloads.wait(need);
  return `${settings || 'the port'} needs a reload of HAProxy${why === undefined ? '' : `; ${why}`}`;
}

function isRefused({ refused }: Applied): boolean {
  return refused.entries.size + refused.servers.size > 0;
}
