import type { TrafficTable } from '../../core/traffic/table.ts';
import type { Files } from '../../ports/files.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { type Applied, type ApplyDeps, applyRemovals, applyUpserts, readHeld, removeLeftovers } from './apply.ts';
import type { Daemon } from './daemon.ts';
import { type Desired, planDesired } from './desired.ts';
import type { Disk } from './disk.ts';
import { CommandRefusedError, RuntimeError, unlessUnreachable } from './errors.ts';
import type { FamilyHealth } from './health.ts';
import type { Held } from './held.ts';
import { parseLayout } from './layout.ts';
import { nodesBackend } from './servers.ts';
import type { Settings } from './settings.ts';

/**
 * Keeps one HAProxy at one table; one call at a time.
 *
 *   table ─► desired (pure) ─► configuration ─► the worker: commands for what differs from what it holds
 *                                               └► none alive: started on the files · another program: reloaded on them
 *
 * The map file follows each second, and before a start or a reload.
 */
export type Keeper = {
  desired(): Desired | undefined;
  /** Adopts the process that runs, or starts one. */
  ensure(table: TrafficTable, signal: AbortSignal): Promise<'adopted' | 'started'>;
  /** The number of differences mended; so for `prune`. */
  upsert(table: TrafficTable, signal: AbortSignal): Promise<number>;
  prune(table: TrafficTable, signal: AbortSignal): Promise<number>;
  audit(table: TrafficTable, signal: AbortSignal): Promise<number>;
  /** Makes sure that a process serves. `idle`: none is wanted, before `ensure` and after `stop`. */
  revive(signal: AbortSignal): Promise<'serves' | 'started' | 'idle'>;
  /**
   * Between changes: brings the health checks to where `health` has them, gives `commands`, tries again to delete
   * servers. `pid`: the worker that serves; another one than we know comes from a reload by somebody else.
   */
  tend(pid: number, commands: (held: Held) => readonly string[], signal: AbortSignal): Promise<void>;
  /** Writes the map to the disk where it differs; a failure is said in the log. */
  save(): Promise<void>;
  stop(signal: AbortSignal): Promise<void>;
};

export function makeKeeper(
  deps: ApplyDeps & {
    readonly settings: Settings;
    readonly daemon: Daemon;
    readonly disk: Disk;
    readonly files: Files;
    readonly health: { readonly 4: FamilyHealth; readonly 6: FamilyHealth };
    readonly log: Log;
    readonly metrics: Metrics;
    /** Called with each worker that is met for the first time. */
    readonly onWorker: (pid: number) => void;
  },
): Keeper {
  const { runtime, map, settings, daemon, disk, health, log, metrics } = deps;
  const reloads = metrics.counter('furiwake_reloads_total', 'Reloads of HAProxy');
  const restarts = metrics.counter('furiwake_haproxy_restarts_total', 'Starts of HAProxy after it had died or hung');

  let desired: Desired | undefined;
  /** `undefined`: not known for sure, to be read before the next change. */
  let held: Held | undefined;
  let pid: number | undefined;
  let leftOut = '';
  let isDiskRefusing = false;

  const read = async (signal: AbortSignal): Promise<Held> => {
    held = await readHeld(runtime, map, signal);
    if (held.pid !== pid) {
      pid = held.pid;
      health[4].forgetOrders();
      health[6].forgetOrders();
      deps.onWorker(pid);
    }
    return held;
  };

  const noteLeftOut = ({ table, entries, servers }: Desired): void => {
    const rows = table.rows.size - entries.size;
    const nodes = ([4, 6] as const).flatMap((family) => {
      if (servers.nodes[family].length === table.nodes[family].length) return [];
      const served = new Set(servers.nodes[family].map(({ node }) => node));
      return table.nodes[family].map(({ node }) => node).filter((node) => !served.has(node));
    });
    const now = `${rows} ${nodes.join(' ')}`;
    if (now !== leftOut && (rows > 0 || nodes.length > 0))
      log.warn({ rows, nodes }, 'HAProxy cannot serve some rows or nodes: left out');
    leftOut = now;
  };

  /** A full disk is no reason to serve nobody: what the map on it lacks comes by commands. */
  const save = async (): Promise<void> => {
    try {
      await disk.flush();
      isDiskRefusing = false;
    } catch (error) {
      if (!isDiskRefusing) log.error({ err: error }, 'the map could not be written: tried again each second');
      isDiskRefusing = true;
    }
  };

  /** Plans, and writes the configuration. What is refused changes nothing. */
  const settle = async (table: TrafficTable, signal: AbortSignal): Promise<Desired> => {
    if (desired?.table === table) return desired;
    const present = held ?? (await read(signal).catch(unlessUnreachable));
    const layout = desired?.layout ?? parseLayout(present?.identity?.layout ?? '');
    const next = planDesired(settings, table, layout, present, desired);
    await disk.put(next, signal);
    noteLeftOut(next);
    desired = next;
    return next;
  };

  /** A worker that runs the desired program. */
  const bring = async (next: Desired, signal: AbortSignal): Promise<Held> => {
    const present = held ?? (await read(signal));
    if (present.identity?.hash === next.identity.hash) return present;
    log.info({ slots: next.identity.layout }, 'reloading HAProxy: it runs another program');
    await save();
    await daemon.reload(next.identity, signal);
    reloads.add(1);
    return read(signal);
  };

  const revive: Keeper['revive'] = async (signal) => {
    if (desired === undefined) return 'idle';
    held = undefined;
    await save();
    const { info, isNew } = await daemon.recover(desired.identity, () => restarts.add(1), signal);
    await read(signal);
    if (!isNew) return 'serves';
    log.warn({ pid: info.pid }, 'HAProxy had died: started again');
    await upsert(desired, signal);
    return 'started';
  };

  /** Does `work`; once more where the process died meanwhile, or held something else than we believed. */
  const apply = async (
    next: Desired,
    signal: AbortSignal,
    work: (present: Held) => Promise<Applied>,
  ): Promise<number> => {
    const attempt = async (): Promise<number> => {
      const present = await bring(next, signal);
      held = undefined; // until all of it is acknowledged
      const applied = await work(present);
      held = applied.held;
      return applied.changes;
    };
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof RuntimeError) await revive(signal);
      else if (!(error instanceof CommandRefusedError)) throw error;
      log.info({ err: error }, 'HAProxy is not as it was left: compared and tried again');
      return attempt();
    }
  };

  const upsert = async (next: Desired, signal: AbortSignal): Promise<number> => {
    for (const family of [4, 6] as const) await health[family].survey(next.servers.nodes[family], signal);
    return apply(next, signal, (present) => applyUpserts(deps, present, next, signal));
  };

  const prune = (next: Desired, signal: AbortSignal): Promise<number> =>
    apply(next, signal, (present) => applyRemovals(deps, present, next, signal));

  return {
    desired: () => desired,
    revive,
    ensure: async (table, signal) => {
      await deps.files.makeFolder(settings.folder);
      const running = await read(signal).catch(unlessUnreachable);
      for (const family of [4, 6] as const) {
        const nodes = [...(running?.servers.get(nodesBackend(family))?.values() ?? [])];
        if (nodes.length > 0) health[family].adopt(nodes.some(({ isChecked }) => isChecked));
      }
      const next = await settle(table, signal);
      if (running !== undefined) {
        await bring(next, signal);
        return 'adopted';
      }
      for (const family of [4, 6] as const) await health[family].survey(next.servers.nodes[family], signal);
      await save();
      const { info, isNew } = await daemon.recover(next.identity, () => undefined, signal);
      log.info({ pid: info.pid, version: info.version, connections: info.maxConnections }, 'HAProxy runs');
      held = undefined;
      await upsert(next, signal); // its checks off, where our own probe stands in
      return isNew ? 'started' : 'adopted';
    },
    upsert: async (table, signal) => upsert(await settle(table, signal), signal),
    prune: async (table, signal) => prune(await settle(table, signal), signal),
    audit: async (table, signal) => {
      const next = await settle(table, signal);
      const files = await disk.repair(next, signal);
      held = undefined;
      return files + (await upsert(next, signal)) + (await prune(next, signal));
    },
    tend: async (serving, commands, signal) => {
      if (desired === undefined) return;
      if (held?.pid !== serving) held = undefined;
      const next = desired;
      await apply(next, signal, (present) => applyUpserts(deps, present, next, signal));
      if (held === undefined) return;
      await runtime.ask(commands(held), signal); // a server that is gone by now is no error
      held = { ...held, servers: await removeLeftovers(runtime, held.servers, next, signal) };
    },
    save: async () => {
      if (desired !== undefined) await save();
    },
    stop: async (signal) => {
      desired = undefined;
      held = undefined;
      await daemon.stop(signal);
    },
  };
}
