import { makeBackoff } from '../../async/backoff.ts';
import { makeLatch, waitAtMost } from '../../async/latch.ts';
import { restOfPeriod } from '../../async/rest-of-period.ts';
import { makeSerial } from '../../async/serial.ts';
import { superviseAll } from '../../async/supervise-all.ts';
import { makeTrouble } from '../../async/trouble.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import type { FamilyHealths } from '../../ports/health.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Proxy } from '../../ports/proxy.ts';
import { inEither, makeRuntimeApi, RuntimeError, type Sockets, unixSockets } from './runtime/client.ts';
import { connectionLimit, listenPort, pathsIn, type Settings } from './config/config.ts';
import { makeDrainLimits } from './runtime/drain-limits.ts';
import { makeHeaderChecks } from './checks/header-checks.ts';
import { makeHaproxyFiles } from './config/haproxy-files.ts';
import { makeHealthTick } from './checks/health-tick.ts';
import { makeLife } from './process/life.ts';
import { readConnections } from './runtime/connections.ts';
import { observeProxy, readCounters, readServerCounters } from './runtime/observe.ts';
import { type Kill, makePortOwners, systemKill } from './process/port-owners.ts';
import { makeHaproxyProcess } from './process/process.ts';
import { makeOldWorkers } from './process/old-workers.ts';
import { makeOwnChecks } from './checks/own-checks.ts';
import { makeProgram } from './process/program.ts';
import { type Dial, makeDial } from './checks/proxy-header.ts';
import { makeReconciler } from './reconciler.ts';
import { makeRuntimeSession } from './runtime/session.ts';

export type HaproxyOptions = {
  /** Absolute; contains all files of this HAProxy. It need not outlive a boot. */
  readonly folder: string;
  /** That of the release before, whose HAProxy may run. */
  readonly earlierFolder: string;
  /** Descriptors that the process may open (`RLIMIT_NOFILE`, hard); they limit its connections. */
  readonly descriptorLimit: number;
  readonly idleTimeoutSeconds: number;
  /** See `Settings`. */
  readonly connectionLog?: Settings['connectionLog'];
  /** False if the kernel has no IPv6. */
  readonly hasIpv6: boolean;
  /** The account of the workers; `undefined`: they stay root. */
  readonly account: Settings['account'];
  readonly health: FamilyHealths;
  readonly exec: Exec;
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Default: those of this machine. */
  readonly sockets?: Sockets;
  /** Default: from this machine. */
  readonly dial?: Dial;
  /** Default: signals to processes of this machine. */
  readonly kill?: Kill;
};

const tickMs = 1000;

/**
 * HAProxy as a fixed program and a table.
 *
 *   config/         the desired state: the fixed program, its nodes, the entries of its map, spare servers
 *   process/        what happens when it dies (life.ts), its port, reloads, old workers
 *   runtime/        its command sockets: questions, answers, and what a worker contains
 *   checks/         the health of nodes, each second; servers with checks of their own, or that refuse a header
 *   reconciler.ts   from the actual state to the desired one
 *
 * Throws `RangeError` for a folder that HAProxy cannot use.
 */
export function makeHaproxy(options: HaproxyOptions): Proxy {
  const { folder, earlierFolder, clock, exec, files, log, metrics, health } = options;
  const { kill = systemKill, dial = makeDial({ clock }) } = options;
  const sockets = inEither(folder, earlierFolder, options.sockets ?? unixSockets({ clock }));
  const settings: Settings = { ...options, maxConnections: connectionLimit(options.descriptorLimit) };
  const paths = pathsIn(folder);
  const api = makeRuntimeApi({ sockets, path: paths.workerSocket });
  const portOwners = makePortOwners({ exec, files, clock, kill });
  const program = makeProgram({ paths, exec });
  const process = makeHaproxyProcess({
    folder,
    earlierFolder,
    program,
    files,
    clock,
    api,
    sockets,
    portOwners,
    kill,
  });
  /** One change at a time. */
  const inTurn = makeSerial();
  const life = makeLife({
    process,
    revive: (signal) => inTurn(() => reconciler.revive(signal)),
    maxConnections: settings.maxConnections,
    clock,
    log,
    metrics,
  });
  const oldWorkers = makeOldWorkers({
    master: (text, signal) => sockets.request(paths.masterSocket, text, signal),
    clock,
    metrics,
  });
  const reconciler = makeReconciler({
    settings,
    api,
    process,
    life,
    oldWorkers,
    haproxyFiles: makeHaproxyFiles({ settings, files, program }),
    clock,
    log,
    metrics,
    health,
  });
  const drainLimits = makeDrainLimits({ clock, desired: () => reconciler.desired() });
  const ownChecks = makeOwnChecks({ api });
  const headerChecks = makeHeaderChecks({ dial, desired: () => reconciler.desired(), clock });
  const session = makeRuntimeSession({ sockets, path: paths.workerSocket, clock });
  const tick = makeHealthTick({
    session,
    reconciler,
    ownChecks,
    drainLimits,
    oldWorkers,
    health,
    clock,
    log,
    metrics,
  });
  const tickTrouble = makeTrouble({ what: 'checking nodes', log, clock });
  if (options.account === undefined)
    log.warn(
      {},
      'this host has no account "haproxy": the workers of HAProxy run as root. Create the account, then restart furiwake',
    );

  const change = async <T>(work: () => Promise<T>): Promise<T> => {
    life.want();
    return await inTurn(() => work().finally(() => drainLimits.follow()));
  };

  /** Ends the wait after a failure. */
  const servesAgain = makeLatch();
  life.onTrouble(() => life.trouble() ?? servesAgain.set());

  /** The tasks of each second. They also detect a silent process, whose connections stay open. */
  const ticks = async (signal: AbortSignal): Promise<void> => {
    // Health must be known within seconds.
    const backoff = makeBackoff({ firstMs: tickMs, mostMs: 5 * tickMs });
    /** In a row, of a HAProxy that serves. */
    let failures = 0;
    for (let waitMs = tickMs; ;) {
      await waitAtMost(waitMs, servesAgain, clock, signal);
      const startMs = clock.monotonic();
      try {
        if (await tick(inTurn, signal)) life.noteUp();
        await inTurn(() => reconciler.save());
        await reconciler.rememberClients(signal); // changes need not wait for it
        tickTrouble.over();
        backoff.reset();
        failures = 0;
        waitMs = restOfPeriod(tickMs, clock.monotonic() - startMs);
      } catch (error) {
        signal.throwIfAborted();
        // `life` reports a HAProxy that does not serve. A single failure of one that serves is a death that it has noticed.
        failures = !(error instanceof RuntimeError) || (await life.revive(signal)) === 'serves' ? failures + 1 : 0;
        if (failures > 1) tickTrouble.failed(error);
        waitMs = failures === 1 ? tickMs : backoff.next();
      }
    }
  };

  return {
    portOf: () => listenPort,
    trouble: life.trouble,
    outage: life.outage,
    onTrouble: life.onTrouble,
    failing: ownChecks.failing,
    refusingHeaders: headerChecks.refusingHeaders,
    onServers: (listener) => {
      const ends = [ownChecks.subscribe(listener), headerChecks.subscribe(listener)];
      return () => {
        for (const end of ends) end();
      };
    },
    upsert: (table, signal) => change(() => reconciler.upsert(table, signal)),
    prune: (table, signal) => change(() => reconciler.prune(table, signal)),
    audit: (table, signal) => change(() => reconciler.audit(table, signal)),
    check: (table, signal) => change(() => reconciler.check(table, signal)),
    run: async (signal) => {
      try {
        await superviseAll([(inner) => life.guard(inner), ticks, (inner) => headerChecks.run(inner)], signal);
      } finally {
        session.close(); // an open connection would keep the process from its end
      }
      await inTurn(() => reconciler.save());
    },
    observe: (signal) => observeProxy(api, reconciler.desired(), health, oldWorkers, signal),
    counters: (signal, keys) => readCounters(api, reconciler.desired(), { keys, oldWorkers }, signal),
    serverCounters: (signal) => readServerCounters(api, reconciler.desired(), signal),
    connections: (asked, signal) => readConnections(api, asked, signal),
    stop: (signal) => inTurn(() => reconciler.stop(signal)),
  };
}
