import { assembleController } from '../../src/controller/assemble.ts';
import { makeRecordFile } from '../../src/state/records.ts';
import type { Controller, HostLink } from '../../src/controller/controller.ts';
import type { Site } from '../../src/core/model/site.ts';
import type { ServiceKey } from '../../src/core/model/names.ts';
import { diffRows } from '../../src/core/traffic/diff.ts';
import { emptyTable, type TrafficTable } from '../../src/core/traffic/table.ts';
import { makeKubeClient } from '../../src/kube/client.ts';
import { loadKubeConfig } from '../../src/kube/config.ts';
import type { EventFacts } from '../../src/kube/event-object.ts';
import { makeSite } from '../make/service.ts';
import type { SimApiServer } from './apiserver.ts';
import { filesOf, noPrograms } from './harness.ts';
import { type LogLine, recordLog, recordMetrics } from './observers.ts';
import { fastClock, seededRandom } from './virtual-clock.ts';

/** A load-balancer host that acknowledges at once, or refuses, or is slow, and remembers every table. */
export type FakeHost = HostLink & {
  readonly tables: readonly TrafficTable[];
  /** What it says instead of yes, from now on; `undefined`: yes. */
  refusal: string | undefined;
};

export function fakeHost(onSubmit: (table: TrafficTable) => void = () => undefined): FakeHost {
  const tables: TrafficTable[] = [];
  let inForce = emptyTable;
  let refusal: string | undefined;
  return {
    tables,
    answerTo: (row) => {
      if (inForce.rows.get(row.key) === row) return 'ready';
      return refusal === undefined ? undefined : { reason: 'DataplaneError', message: refusal };
    },
    inForce: () => inForce,
    mayHold: () => inForce,
    submit: async (table) => {
      tables.push(table);
      onSubmit(table);
      const { changed, gone } = diffRows(inForce, table);
      if (refusal === undefined) inForce = table;
      return new Set<ServiceKey>([...changed, ...gone].map((row) => row.service));
    },
    get refusal() {
      return refusal;
    },
    set refusal(text) {
      refusal = text;
    },
  };
}

/** The controller as the program wires it, against a simulated API server and a fake host. */
export type ControllerRig = AsyncDisposable & {
  readonly controller: Controller;
  readonly events: readonly EventFacts[];
  readonly log: readonly LogLine[];
  mayWrite: boolean;
};

export type RigOptions = {
  readonly addresses?: readonly string[];
  readonly site?: Partial<Site>;
  /** Outlives a rig, as the state directory does. */
  readonly files?: Map<string, string>;
  /** Clock speed against the wall; default 1. */
  readonly timeFactor?: number;
};

export async function startController(
  server: SimApiServer,
  host: HostLink,
  options: RigOptions = {},
): Promise<ControllerRig> {
  const { files = new Map<string, string>(), addresses = ['192.0.2.8-192.0.2.9'], timeFactor = 1 } = options;
  const clock = fastClock(timeFactor);
  files.set('/config', server.kubeconfig());
  const log = recordLog();
  const config = await loadKubeConfig({
    log,
    kubeconfig: '/config',
    env: {},
    homeFolder: '/',
    files: filesOf(files),
    exec: noPrograms,
    clock,
  });
  const stop = new AbortController();
  const metrics = recordMetrics();
  const random = seededRandom(server.seed);
  const client = makeKubeClient({ config, clock, log, metrics, random });
  const events: EventFacts[] = [];
  let mayWrite = true;
  const { stores, controller, drained } = assembleController({
    client,
    site: makeSite(addresses, options.site),
    host,
    facts: async () => ({ ownAddresses: [], listening: [] }),
    records: makeRecordFile({ path: '/records', files: filesOf(files) }),
    events: { record: (event) => void events.push(event) },
    mayWrite: () => mayWrite,
    clock,
    random,
    log,
    metrics,
    signal: stop.signal,
  });
  const running = Promise.allSettled([stores.watch(stop.signal), controller.run(stop.signal)]);
  return {
    controller,
    events,
    log: log.lines,
    get mayWrite() {
      return mayWrite;
    },
    set mayWrite(value) {
      mayWrite = value;
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
      await drained;
      await client.close();
    },
  };
}
