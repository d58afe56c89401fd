import { makeBackoff } from '../../async/backoff.ts';
import { makeLatch } from '../../async/latch.ts';
import { restOfPeriod } from '../../async/rest-of-period.ts';
import { makeSerial } from '../../async/serial.ts';
import { makeSubscribers } from '../../async/subscribers.ts';
import { superviseAll } from '../../async/supervise-all.ts';
import { makeTrouble } from '../../async/trouble.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import type { FamilyHealths } from '../../ports/health.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Proxy } from '../../ports/proxy.ts';
import { inEither, makeRuntimeApi, RuntimeError, type Sockets, unixSockets } from './client.ts';
import { connectionLimit, listenPort, pathsIn, type Settings } from './config.ts';
import { makeDrainLimits } from './drain-limits.ts';
import { makeHeaderChecks } from './header-checks.ts';
import { makeHaproxyFiles } from './haproxy-files.ts';
import { makeHealthTick } from './health-tick.ts';
import { observeProxy, readCounters, readServerCounters } from './observe.ts';
import { type Kill, makePortOwners, systemKill } from './port-owners.ts';
import { makeHaproxyProcess, type Recovery } from './process.ts';
import { makeOldWorkers } from './old-workers.ts';
import { makeOwnChecks } from './own-checks.ts';
import { makeProgram } from './program.ts';
import { type Dial, makeDial } from './proxy-header.ts';
import { makeReconciler } from './reconciler.ts';

export type HaproxyOptions = {
  /** Absolute; contains all files of this HAProxy. It need not outlive a boot. */
  readonly folder: string;
  /** That of the release before, whose HAProxy may run. */
  readonly earlierFolder: string;
  /** Descriptors that the process may open (`RLIMIT_NOFILE`, hard); they limit its connections. */
  readonly descriptorLimit: number;
  readonly idleTimeoutSeconds: number;
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
const retry = { firstMs: 250, mostMs: 10_000 };
/** Shorter failures are not reported: HAProxy was started again at once. One that serves for a shorter time is still down. */
const [outageMs, upMs] = [5_000, 10_000];

/**
 * HAProxy as a fixed program and a table.
 *
 *   the desired state               config.ts, entries.ts, desired.ts
 *   the actual state, its changes   reconciler.ts, worker.ts
 *   a worker that serves            serving-worker.ts
 *   its process and its port        process.ts, port-owners.ts
 *   health of nodes, each second    health-tick.ts, own-checks.ts
 *   reloads, replaced workers       reloads.ts, old-workers.ts
 *   what servers expect             header-checks.ts, proxy-header.ts
 *
 * When it exits, `run` below notices at once and calls `revive`, which starts it (serving-worker.ts, process.ts) and gives it the
 * complete last table. Any other call that finds a dead process also makes one attempt. `process.ts` paces the starts of a process
 * that exits several times in ten minutes.
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
  let workerChanged = new AbortController();
  const oldWorkers = makeOldWorkers({
    master: (text, signal) => sockets.request(paths.masterSocket, text, signal),
    metrics,
  });
  const reconciler = makeReconciler({
    settings,
    api,
    process,
    oldWorkers,
    haproxyFiles: makeHaproxyFiles({ settings, files, program }),
    clock,
    log,
    metrics,
    health,
    onWorker: () => {
      workerChanged.abort();
      workerChanged = new AbortController();
    },
  });
  const ownChecks = makeOwnChecks({ api });
  const headerChecks = makeHeaderChecks({ dial, desired: () => reconciler.desired(), clock });
  const tick = makeHealthTick({
    api,
    reconciler,
    ownChecks,
    drainLimits: makeDrainLimits({ clock }),
    oldWorkers,
    health,
    metrics,
  });
  /** One change at a time. */
  const inTurn = makeSerial();
  const upGauge = metrics.gauge('furiwake_haproxy_up', '1 while HAProxy serves');
  upGauge.set(0);
  const lasting = makeTrouble({ what: 'running HAProxy', log, monotonic: () => clock.monotonic(), level: 'error' });
  const tickTrouble = makeTrouble({ what: 'checking nodes', log, monotonic: () => clock.monotonic() });
  /** Set by each change: from the first one on a process must run. */
  const wanted = makeLatch();
  let trouble: string | undefined;
  let outage: string | undefined;
  let downSinceMs: number | undefined;
  const troubleListeners = makeSubscribers();
  const setTrouble = (next: string | undefined, down: string | undefined): void => {
    if (next === trouble && down === outage) return;
    trouble = next;
    outage = down;
    troubleListeners.tell();
  };
  /** Each attempt may fail with words of its own; the first ones stay. */
  const noteDown = (error: unknown): void => {
    const words = error instanceof Error ? error.message : String(error);
    downSinceMs ??= clock.monotonic();
    setTrouble(words, outage ?? (clock.monotonic() - downSinceMs >= outageMs ? words : undefined));
    upGauge.set(0);
    lasting.failed(error);
  };
  const noteServing = (words: string | undefined): void => {
    if (process.servedMs() > upMs) downSinceMs = undefined;
    setTrouble(words, process.isSteady() ? undefined : outage);
    upGauge.set(1);
  };

  if (options.account === undefined)
    log.warn(
      {},
      'this host has no account "haproxy": the workers of HAProxy run as root. Create the account, then restart furiwake',
    );

  /** HAProxy has just answered a command. */
  const noteUp = (): void => {
    process.noteAnswer();
    noteServing(undefined);
    if (process.isSteady()) lasting.over();
  };

  const change = async <T>(work: () => Promise<T>): Promise<T> => {
    wanted.set();
    return await inTurn(work);
  };

  /** One attempt to get a serving process. */
  const revive = async (signal: AbortSignal): Promise<Recovery | 'idle' | 'failed'> => {
    try {
      const outcome = await inTurn(() => reconciler.revive(signal));
      if (outcome === 'busy') {
        const words = 'HAProxy serves, but its command socket does not answer';
        noteServing(words);
        lasting.failed(new Error(words));
      } else if (outcome !== 'idle') noteUp();
      return outcome;
    } catch (error) {
      signal.throwIfAborted();
      noteDown(error);
      return 'failed';
    }
  };

  /** Restarts the process as soon as it exits. */
  const guard = async (signal: AbortSignal): Promise<void> => {
    const backoff = makeBackoff(retry);
    for (;;) {
      const openedMs = clock.monotonic();
      await sockets.untilClosed(paths.workerSocket, AbortSignal.any([signal, workerChanged.signal]));
      signal.throwIfAborted();
      if (clock.monotonic() - openedMs > retry.mostMs) backoff.reset();
      const outcome = await revive(signal);
      if (outcome === 'idle') await wanted.wait(signal);
      else if (outcome !== 'started' && outcome !== 'replaced')
        await clock.sleep(Math.max(backoff.next(), process.retryInMs()), signal);
    }
  };

  /** The tasks of each second. They also detect a silent process, whose connections stay open. */
  const ticks = async (signal: AbortSignal): Promise<void> => {
    const backoff = makeBackoff({ firstMs: tickMs, mostMs: 5 * tickMs });
    /** In a row, of a HAProxy that serves. */
    let failures = 0;
    for (let waitMs = tickMs; ;) {
      await clock.sleep(waitMs, signal);
      const startMs = clock.monotonic();
      try {
        if (await tick(inTurn, signal)) noteUp();
        await inTurn(() => reconciler.save());
        tickTrouble.over();
        backoff.reset();
        failures = 0;
        waitMs = restOfPeriod(tickMs, clock.monotonic() - startMs);
      } catch (error) {
        signal.throwIfAborted();
        // `revive` reports a HAProxy that does not serve. A single failure of one that serves is a death that `guard` noticed.
        failures = !(error instanceof RuntimeError) || (await revive(signal)) === 'serves' ? failures + 1 : 0;
        if (failures > 1) tickTrouble.failed(error);
        waitMs = failures === 1 ? tickMs : backoff.next();
      }
    }
  };

  return {
    portOf: () => listenPort,
    trouble: () => trouble,
    outage: () => outage,
    onTrouble: troubleListeners.subscribe,
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
    run: async (signal) => {
      await superviseAll([guard, ticks, (inner) => headerChecks.run(inner)], signal);
      await inTurn(() => reconciler.save());
    },
    observe: (signal) => observeProxy(api, reconciler.desired(), health, oldWorkers, signal),
    counters: (signal, keys) => readCounters(api, reconciler.desired(), keys, signal),
    serverCounters: (signal) => readServerCounters(api, reconciler.desired(), signal),
    stop: async (signal) => {
      const wasThere = await inTurn(() => reconciler.stop(signal));
      downSinceMs = undefined;
      setTrouble(undefined, undefined);
      upGauge.set(0);
      return wasThere;
    },
  };
}
