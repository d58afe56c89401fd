import type { Family } from '../../core/ip/ip.ts';
import type { TrafficTable } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Proxy, ServerState } from '../../ports/proxy.ts';
import { parseInfo, parseStat } from './answers.ts';
import { applyRemovals, applyUpserts, type ApplyDeps, readWorker, removeLeftovers, type Worker } from './apply.ts';
import { makeDaemon } from './daemon.ts';
import { type Desired, makePlanner } from './desired.ts';
import { makeDisk } from './disk.ts';
import { CommandRefusedError, RuntimeError } from './errors.ts';
import { makeFamilyHealth, orderCommands } from './health.ts';
import { type Layout, parseLayout } from './layout.ts';
import { observeProxy, statCommands } from './observe.ts';
import { makeProbe, type Probe } from './probe.ts';
import { makeRuntime } from './runtime.ts';
import { makeSerial } from './serial.ts';
import { nodesBackend } from './servers.ts';
import { connectionLimit, pathsIn, type Settings } from './settings.ts';
import { supervise } from './supervise.ts';

const serverStates: readonly ServerState[] = ['up', 'drain', 'unhealthy', 'silent'];

export type HaproxyOptions = {
  /** Absolute; everything of this HAProxy lives in it. */
  readonly folder: string;
  /** Descriptors that the process may open (`RLIMIT_NOFILE`, hard): they bound its connections. */
  readonly descriptorLimit: number;
  /** Default 17100; on both loopback addresses. */
  readonly listenPort?: number;
  /** Default 3600. */
  readonly idleTimeoutSeconds?: number;
  /** False where the kernel has no IPv6; default true. */
  readonly hasIpv6?: boolean;
  /** Whom the workers become; default: they stay what furiwake is. */
  readonly account?: Settings['account'];
  readonly exec: Exec;
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Default: connects from this process. */
  readonly probe?: Probe;
};

/**
 * HAProxy as a fixed program and a table (see `program.ts`). All changes go through one queue:
 *
 *   table ─► desired (pure) ─► files ─► the worker: commands for what differs from what it holds
 *                                  └──► none alive: started on the files · another program: reloaded on the files
 */
export function makeHaproxy(options: HaproxyOptions): Proxy {
  const { clock, files, log, metrics } = options;
  const settings: Settings = {
    folder: options.folder,
    listenPort: options.listenPort ?? 17_100,
    maxConnections: connectionLimit(options.descriptorLimit),
    idleTimeoutSeconds: options.idleTimeoutSeconds ?? 3600,
    hasIpv6: options.hasIpv6 ?? true,
    account: options.account,
  };
  const paths = pathsIn(settings.folder);
  const runtime = makeRuntime({ socketPath: paths.workerSocket, clock });
  const daemon = makeDaemon({ paths, exec: options.exec, files, clock, runtime });
  const disk = makeDisk({ paths, files, daemon });
  const plan = makePlanner(settings);
  const serial = makeSerial();
  const probe = options.probe ?? makeProbe({ clock });
  const health = {
    4: makeFamilyHealth({ family: 4, probe, log, metrics }),
    6: makeFamilyHealth({ family: 6, probe, log, metrics }),
  };
  const reloads = metrics.counter('furiwake_reloads_total', 'Reloads of HAProxy');
  const restarts = metrics.counter('furiwake_haproxy_restarts_total', 'Starts of HAProxy after it died');
  const servers = metrics.gauge('furiwake_servers', 'Nodes by family, in each state', ['state']);
  const connections = metrics.gauge('furiwake_connections', 'Client connections that HAProxy holds');
  const deps: ApplyDeps = { runtime, map: paths.map, isChecked: (family: Family) => health[family].isChecked() };

  let desired: Desired | undefined;
  /** `undefined`: not known, to be read before the next change. */
  let worker: Worker | undefined;
  let workerChanged = new AbortController();
  let pid = 0;

  const knowWorker = async (signal: AbortSignal): Promise<Worker> => {
    worker = await readWorker(runtime, paths.map, signal);
    if (worker.pid !== pid) {
      pid = worker.pid;
      health[4].forgetOrders();
      health[6].forgetOrders();
      workerChanged.abort();
      workerChanged = new AbortController();
    }
    return worker;
  };

  const layoutNow = (): Layout =>
    desired?.layout ?? (worker?.identity === undefined ? new Map() : parseLayout(worker.identity.layout));

  const settle = async (table: TrafficTable, signal: AbortSignal): Promise<Desired> => {
    if (desired?.table === table) return desired;
    const next = plan(table, layoutNow(), worker);
    await disk.put(next, signal);
    desired = next;
    return next;
  };

  const survey = async (next: Desired, signal: AbortSignal): Promise<void> => {
    for (const family of [4, 6] as const) await health[family].survey(next.servers.nodes[family], signal);
  };

  /** A worker with the desired program, whatever it takes. */
  const bring = async (next: Desired, signal: AbortSignal): Promise<Worker> => {
    let present = worker ?? (await knowWorker(signal));
    if (present.identity?.hash !== next.identity.hash) {
      log.info({ slots: next.identity.layout }, 'reloading HAProxy: it runs another program');
      await daemon.reload(next.identity, signal);
      reloads.add(1);
      present = await knowWorker(signal);
    }
    return present;
  };

  const revive = async (signal: AbortSignal): Promise<boolean> => {
    if (desired === undefined) return false;
    worker = undefined;
    const { info, isNew } = await daemon.recover(desired.identity, signal);
    await knowWorker(signal);
    if (!isNew) return false;
    restarts.add(1);
    log.warn({ pid: info.pid }, 'HAProxy had died: started again');
    return true;
  };

  /** Once more where the process died meanwhile, or holds something else than we believed. */
  const withWorker = async <T>(
    next: Desired,
    signal: AbortSignal,
    work: (present: Worker) => Promise<T>,
  ): Promise<T> => {
    try {
      return await work(await bring(next, signal));
    } catch (error) {
      if (error instanceof CommandRefusedError) worker = undefined;
      else if (error instanceof RuntimeError) await revive(signal);
      else throw error;
      return work(await bring(next, signal));
    }
  };

  const upsert = async (next: Desired, signal: AbortSignal): Promise<number> => {
    await survey(next, signal);
    return withWorker(next, signal, async (present) => {
      worker = undefined; // until all of it is acknowledged
      const { worker: after, changes } = await applyUpserts(deps, present, next, signal);
      worker = after;
      return changes;
    });
  };

  const prune = (next: Desired, signal: AbortSignal): Promise<number> =>
    withWorker(next, signal, async (present) => {
      worker = undefined;
      const { worker: after, changes } = await applyRemovals(deps, present, next, signal);
      worker = after;
      return changes;
    });

  const round = async (signal: AbortSignal): Promise<void> => {
    if (desired === undefined) return;
    const { nodes } = desired.servers;
    const [info = '', ...answers] = await runtime.ask(['show info', ...statCommands], signal);
    const stats = answers.map(parseStat);
    // Probing may take half a second: not in the queue.
    const [orders4, orders6] = await Promise.all([
      health[4].round(nodes[4], stats[0] ?? [], signal),
      health[6].round(nodes[6], stats[1] ?? [], signal),
    ]);
    const orders = { 4: orders4, 6: orders6 };
    const states = ([4, 6] as const).flatMap((family, index) => {
      const byName = new Map((stats[index] ?? []).map((stat) => [stat.server, stat]));
      return nodes[family].map((node) => health[family].stateOf(node, byName.get(node.node)));
    });
    for (const state of serverStates) servers.set(states.filter((each) => each === state).length, { state });
    connections.set(parseInfo(info)?.connections ?? 0);
    await serial(async () => {
      if (desired === undefined) return;
      if (orders[4].isNewMode || orders[6].isNewMode) await upsert(desired, signal);
      for (const family of [4, 6] as const)
        await runtime.ask(orderCommands(orders[family], family, worker?.servers ?? new Map()), signal);
      if (worker !== undefined) worker = await removeLeftovers(runtime, worker, desired, signal);
    });
  };

  return {
    portOf: () => settings.listenPort,
    ensure: (table, signal) =>
      serial(async () => {
        await files.makeFolder(settings.folder);
        const running = await daemon.info(signal);
        if (running !== undefined) await knowWorker(signal);
        const next = await settle(table, signal);
        if (worker !== undefined) {
          for (const family of [4, 6] as const) {
            const nodes = [...(worker.servers.get(nodesBackend(family))?.values() ?? [])];
            health[family].adopt(nodes.length === 0 || nodes.some(({ isChecked }) => isChecked));
          }
          await bring(next, signal);
          return 'adopted';
        }
        await survey(next, signal);
        const { info, isNew } = await daemon.recover(next.identity, signal);
        log.info({ pid: info.pid, version: info.version, connections: info.maxConnections }, 'HAProxy runs');
        await knowWorker(signal);
        await upsert(next, signal);
        return isNew ? 'started' : 'adopted';
      }),
    upsert: (table, signal) =>
      serial(async () => {
        await upsert(await settle(table, signal), signal);
      }),
    prune: (table, signal) =>
      serial(async () => {
        await prune(await settle(table, signal), signal);
      }),
    audit: (table, signal) =>
      serial(async () => {
        const next = await settle(table, signal);
        const repaired = await disk.repair(next, signal);
        worker = undefined;
        return repaired + (await upsert(next, signal)) + (await prune(next, signal));
      }),
    run: (signal) =>
      supervise(
        {
          untilWorkerGoes: (until) => runtime.untilClosed(AbortSignal.any([until, workerChanged.signal])),
          revive: (until) =>
            serial(async () => {
              if (desired === undefined || !(await revive(until))) return false;
              await upsert(desired, until);
              return true;
            }),
          round,
        },
        { clock, log },
        signal,
      ),
    observe: (signal) => observeProxy(runtime, desired, health, signal),
    stop: (signal) =>
      serial(async () => {
        desired = undefined;
        worker = undefined;
        await daemon.stop(signal);
      }),
  };
}
