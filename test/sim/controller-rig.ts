import { makeFacts } from '../../src/agent/facts.ts';
import { assembleController } from '../../src/controller/assemble.ts';
import type { Controller, HostLink, Term } from '../../src/controller/controller.ts';
import type { UnwrittenServices } from '../../src/controller/unwritten.ts';
import type { NodeName, ServiceKey } from '../../src/core/model/names.ts';
import type { Site } from '../../src/core/model/site.ts';
import type { TrafficTable } from '../../src/core/traffic/table.ts';
import { type Drains, loadDrains } from '../../src/daemon/drains.ts';
import { makeKubeClient } from '../../src/kube/client.ts';
import { loadKubeConfig } from '../../src/kube/config.ts';
import type { EventFacts } from '../../src/kube/event-object.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Ledger } from '../../src/ports/ledger.ts';
import { makeFileLedger } from '../../src/state/ledger.ts';
import { makeAgentRig } from '../make/agent-rig.ts';
import { type FakeHostPorts, makeHostPorts } from '../make/host-ports.ts';
import { makeSite } from '../make/service.ts';
import type { SimApiServer } from './apiserver.ts';
import { filesOf, noPrograms } from './harness.ts';
import { type LogLine, recordLog, recordMetrics } from './observers.ts';
import { seededRandom } from './virtual-clock.ts';

/** A load-balancer host: the real agent over ports in memory, with all tables published to it. */
export type SimHost = AsyncDisposable & {
  readonly link: HostLink;
  readonly ports: FakeHostPorts;
  readonly tables: readonly TrafficTable[];
  readonly log: readonly LogLine[];
};

/** Calls `onPublish` with each table before the agent gets it; `files` outlive a host, as the state directory does. */
export function startHost({
  onPublish = () => undefined,
  files = new Map(),
  clock = systemClock,
  ports = makeHostPorts(clock),
}: {
  readonly onPublish?: (table: TrafficTable) => void;
  readonly files?: Map<string, string>;
  readonly clock?: Clock;
  readonly ports?: FakeHostPorts;
} = {}): SimHost {
  const { agent, log } = makeAgentRig({ clock, files, ports });
  const tables: TrafficTable[] = [];
  const stop = new AbortController();
  const running = agent.run(stop.signal);
  return {
    ports,
    tables,
    log: log.lines,
    link: {
      ...agent,
      publish: (table) => {
        tables.push(table);
        onPublish(table);
        agent.publish(table);
      },
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

/** The controller as the program wires it, against a simulated API server and a fake host. */
export type ControllerRig = AsyncDisposable & {
  readonly controller: Controller;
  readonly unwritten: UnwrittenServices;
  readonly events: readonly EventFacts[];
  readonly log: readonly LogLine[];
  readonly serviceDrains: Drains<ServiceKey>;
  mayWrite: boolean;
};

export type RigOptions = {
  readonly addresses?: readonly string[];
  readonly site?: Partial<Site>;
  /** Outlives a rig, as the state directory does. */
  readonly files?: Map<string, string>;
  /** Default: a file. */
  readonly ledger?: Ledger;
  /** Default: no other host held the Lease. */
  readonly term?: Term;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** Default: as `ControllerRig.mayWrite` says. */
  readonly mayWrite?: () => boolean;
};

export async function startController(
  server: SimApiServer,
  {
    link: host,
    ports,
  }: { readonly link: HostLink; readonly ports: Pick<Parameters<typeof makeFacts>[0], 'host' | 'network'> },
  options: RigOptions = {},
): Promise<ControllerRig> {
  const { files = new Map<string, string>(), addresses = ['192.0.2.8-192.0.2.9'], clock = systemClock } = options;
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
  const client = makeKubeClient({ config, clock, log, metrics, random, connect: server.connect });
  const events: EventFacts[] = [];
  let mayWrite = true;
  const site = makeSite(addresses, options.site);
  const serviceDrains = await loadDrains<ServiceKey>({
    kind: 'service',
    path: '/drained-services',
    files: filesOf(files),
    log,
  });
  const { stores, controller, unwritten, drained } = assembleController({
    client,
    site,
    host,
    term: options.term ?? {
      isLedgerCurrent: true,
      isFormerClassTaken: false,
      recorded: () => undefined,
      published: () => undefined,
    },
    facts: makeFacts({ ...ports, site, reserved: async () => new Map(), clock, log }),
    ledger:
      options.ledger ?? makeFileLedger({ path: '/ledger', earlierPath: '/records', files: filesOf(files), clock, log }),
    drains: await loadDrains<NodeName>({ kind: 'node', path: '/drains', files: filesOf(files), log }),
    serviceDrains,
    events: { record: (event) => void events.push(event) },
    mayWrite: options.mayWrite ?? (() => mayWrite),
    clock,
    random,
    log,
    metrics,
    signal: stop.signal,
  });
  const running = Promise.allSettled([stores.watch(stop.signal), controller.run(stop.signal)]);
  return {
    controller,
    unwritten,
    serviceDrains,
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
