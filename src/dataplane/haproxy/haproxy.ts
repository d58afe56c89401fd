import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Proxy } from '../../ports/proxy.ts';
import { makeDaemon } from './daemon.ts';
import { makeDialogue } from './dialogue.ts';
import { makeDisk } from './disk.ts';
import { makeFamilyHealth } from './health.ts';
import { makeKeeper } from './keeper.ts';
import { observeProxy } from './observe.ts';
import { makeOldWorkers } from './old-workers.ts';
import { makeProbe, type Probe } from './probe.ts';
import { makeRound } from './round.ts';
import { makeRuntime } from './runtime.ts';
import { makeSerial } from '../../async/serial.ts';
import { connectionLimit, pathsIn, type Settings } from './settings.ts';
import { supervise, type Supervised } from './supervise.ts';

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
 * HAProxy as a fixed program and a table: see `program.ts` for the one, `keeper.ts` for how it is kept at the other.
 * Throws `RangeError` for a folder that HAProxy could not use.
 */
export function makeHaproxy(options: HaproxyOptions): Proxy {
  const { clock, exec, files, log, metrics, probe = makeProbe({ clock }) } = options;
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
  const daemon = makeDaemon({ paths, exec, files, clock, runtime });
  const disk = makeDisk({ paths, files, daemon });
  const health = {
    4: makeFamilyHealth({ family: 4, probe, log, metrics }),
    6: makeFamilyHealth({ family: 6, probe, log, metrics }),
  };
  let workerChanged = new AbortController();
  const keeper = makeKeeper({
    runtime,
    map: paths.map,
    settings,
    daemon,
    disk,
    files,
    health,
    log,
    metrics,
    isChecked: (family) => health[family].isChecked(),
    onWorker: () => {
      workerChanged.abort();
      workerChanged = new AbortController();
    },
  });
  const serial = makeSerial();
  const upGauge = metrics.gauge('furiwake_haproxy_up', '1 while HAProxy serves');
  let isUp = false;
  const tellUp = (now: boolean): void => {
    isUp = now;
    upGauge.set(now ? 1 : 0);
  };
  tellUp(false);
  const oldWorkers = makeOldWorkers(makeDialogue({ socketPath: paths.masterSocket, clock }));
  const round = makeRound({ runtime, keeper, oldWorkers, health, serial, metrics });

  return {
    portOf: () => settings.listenPort,
    isUp: () => isUp,
    ensure: async (table, signal) => {
      const how = await serial(() => keeper.ensure(table, signal));
      tellUp(true);
      return how;
    },
    upsert: (table, signal) => serial(() => keeper.upsert(table, signal)).then(() => undefined),
    prune: (table, signal) => serial(() => keeper.prune(table, signal)).then(() => undefined),
    audit: (table, signal) => serial(() => keeper.audit(table, signal)),
    run: async (signal) => {
      const parts: Supervised = {
        untilWorkerGoes: (until) => runtime.untilClosed(AbortSignal.any([until, workerChanged.signal])),
        revive: (until) => serial(() => keeper.revive(until)),
        round,
        tellUp,
      };
      await supervise(parts, { clock, log }, signal);
      await serial(() => keeper.save());
    },
    observe: (signal) => observeProxy(runtime, keeper.desired(), health, signal),
    stop: async (signal) => {
      await serial(() => keeper.stop(signal));
      tellUp(false);
    },
  };
}
