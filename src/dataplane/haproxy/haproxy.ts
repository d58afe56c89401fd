import { unlessAborted } from '../../async/abort.ts';
import { makeBackoff } from '../../async/backoff.ts';
import { makeSerial } from '../../async/serial.ts';
import { makeTrouble } from '../../async/trouble.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import type { FamilyHealth } from '../../ports/health.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Proxy } from '../../ports/proxy.ts';
import { makeRuntimeApi, makeSocketRequest } from './client.ts';
import { makeHaproxyFiles } from './haproxy-files.ts';
import { makeHealthTick } from './health-tick.ts';
import { observeProxy } from './observe.ts';
import { makeOldWorkers } from './old-workers.ts';
import { makePortOwners } from './port-owners.ts';
import { makeHaproxyProcess } from './process.ts';
import { makeReconciler } from './reconciler.ts';
import { connectionLimit, listenPort, pathsIn, type Settings } from './settings.ts';

export type HaproxyOptions = {
  /** Absolute; everything of this HAProxy lives in it. */
  readonly folder: string;
  /** Descriptors that the process may open (`RLIMIT_NOFILE`, hard): they bound its connections. */
  readonly descriptorLimit: number;
  readonly idleTimeoutSeconds: number;
  /** False where the kernel has no IPv6. */
  readonly hasIpv6: boolean;
  /** The account of the workers; `undefined`: they stay what furiwake is. */
  readonly account: Settings['account'];
  readonly health: { readonly 4: FamilyHealth; readonly 6: FamilyHealth };
  readonly exec: Exec;
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

const tickMs = 1000;
const retry = { firstMs: 250, mostMs: 5_000 };

/**
 * HAProxy as a fixed program and a table.
 *
 *   what HAProxy runs          config.ts      what it holds, and how it gets there      reconciler.ts, worker.ts
 *   its process and its port   process.ts     its health checks                         health-tick.ts
 *
 * When it dies: `run` below notices at once and calls `revive`, which starts it with all of the last table. Any other
 * call that meets a dead process makes one attempt, too. `process.ts` paces the starts of one that exits again and again.
 *
 * Throws `RangeError` for a folder that HAProxy could not use.
 */
export function makeHaproxy(options: HaproxyOptions): Proxy {
  const { clock, exec, files, log, metrics, health } = options;
  const settings: Settings = { ...options, maxConnections: connectionLimit(options.descriptorLimit) };
  const paths = pathsIn(settings.folder);
  const api = makeRuntimeApi({ socketPath: paths.workerSocket, clock });
  const monitor = makeSocketRequest({ socketPath: paths.monitorSocket, clock });
  const portOwners = makePortOwners({ exec, files, clock });
  const process = makeHaproxyProcess({ paths, exec, files, clock, api, monitor, portOwners });
  const haproxyFiles = makeHaproxyFiles({ paths, files, process });
  let workerChanged = new AbortController();
  const reconciler = makeReconciler({
    settings,
    map: paths.map,
    api,
    process,
    haproxyFiles,
    files,
    clock,
    log,
    metrics,
    isChecked: (family) => health[family].isChecked(),
    health: {
      survey: async (servers, signal) => {
        for (const family of [4, 6] as const)
          await health[family].survey(new Map(servers[family].map(({ node, address }) => [node, address])), signal);
      },
      adopt: (family, isChecked) => health[family].adopt(isChecked),
    },
    onWorker: () => {
      health[4].forgetOrders();
      health[6].forgetOrders();
      workerChanged.abort();
      workerChanged = new AbortController();
    },
  });
  const oldWorkers = makeOldWorkers(makeSocketRequest({ socketPath: paths.masterSocket, clock }));
  const tick = makeHealthTick({ api, reconciler, oldWorkers, health, metrics });
  /** One change at a time. */
  const inTurn = makeSerial();
  const upGauge = metrics.gauge('furiwake_haproxy_up', '1 while HAProxy serves');
  upGauge.set(0);
  let trouble: string | undefined;
  const noteUp = (): void => {
    trouble = undefined;
    upGauge.set(1);
  };
  const noteDown = (words: string): void => {
    trouble = words;
    upGauge.set(0);
  };
  const tracked = async <T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> => {
    try {
      const result = await inTurn(work);
      noteUp();
      return result;
    } catch (error) {
      signal.throwIfAborted();
      noteDown(error instanceof Error ? error.message : String(error));
      throw error;
    }
  };

  /** Brings the process back as soon as it goes. */
  const guard = async (signal: AbortSignal): Promise<void> => {
    const lasting = makeTrouble({ what: 'starting HAProxy', log, monotonic: () => clock.monotonic(), level: 'error' });
    const backoff = makeBackoff(retry);
    let lastMs = Number.NEGATIVE_INFINITY;
    for (;;) {
      await api.untilClosed(AbortSignal.any([signal, workerChanged.signal]));
      signal.throwIfAborted();
      try {
        const outcome = await inTurn(() => reconciler.revive(signal));
        if (outcome !== 'idle') noteUp();
        lasting.over();
        // One that went shortly after the last time waits; so does the look whether one is wanted at all.
        if (outcome === 'idle' || clock.monotonic() - lastMs < retry.mostMs) await clock.sleep(backoff.next(), signal);
        else backoff.reset();
        lastMs = clock.monotonic();
      } catch (error) {
        signal.throwIfAborted();
        noteDown(error instanceof Error ? error.message : String(error));
        lasting.failed(error);
        await clock.sleep(backoff.next(), signal);
      }
    }
  };

  /** What is due each second: health, metrics, the map file. A process that hangs is noticed here. */
  const ticks = async (signal: AbortSignal): Promise<void> => {
    const lasting = makeTrouble({ what: 'asking HAProxy', log, monotonic: () => clock.monotonic() });
    const backoff = makeBackoff({ firstMs: tickMs, mostMs: 10_000 });
    for (let waitMs = tickMs; ;) {
      await clock.sleep(waitMs, signal);
      try {
        const isWanted = await tick(inTurn, signal);
        if (isWanted) noteUp();
        await inTurn(() => reconciler.save());
        lasting.over();
        backoff.reset();
        waitMs = tickMs;
      } catch (error) {
        signal.throwIfAborted();
        lasting.failed(error);
        waitMs = backoff.next();
        await inTurn(() => reconciler.revive(signal)).catch((failure: unknown) => {
          signal.throwIfAborted();
          noteDown(failure instanceof Error ? failure.message : String(failure));
        });
      }
    }
  };

  return {
    portOf: () => listenPort,
    trouble: () => trouble,
    upsert: (table, signal) => tracked(() => reconciler.upsert(table, signal), signal),
    prune: (table, signal) => tracked(() => reconciler.prune(table, signal), signal),
    audit: (table, signal) => tracked(() => reconciler.audit(table, signal), signal),
    run: async (signal) => {
      await unlessAborted(Promise.all([guard(signal), ticks(signal)]), signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
      await inTurn(() => reconciler.save());
    },
    observe: (signal) => observeProxy(api, reconciler.desired(), health, signal),
    stop: async (signal) => {
      await inTurn(() => reconciler.stop(signal));
      upGauge.set(0);
    },
  };
}
