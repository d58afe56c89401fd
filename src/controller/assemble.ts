import type { HostFacts } from '../core/model/host.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { Service } from '../core/model/service.ts';
import type { Site } from '../core/model/site.ts';
import type { KubeClient } from '../kube/client.ts';
import type { ObjectReference } from '../kube/event-object.ts';
import type { EventSender } from '../kube/events.ts';
import { makeQueue } from '../kube/queue.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import { type Controller, type HostLink, makeController } from './controller.ts';
import type { RecordFile } from '../state/records.ts';
import { makeServiceWriter } from './service-writer.ts';
import { makeServiceWrites } from './service-writes.ts';
import { makeStores, type Stores } from './stores.ts';
import type { Tell } from './tell.ts';

/** Everything of `furiwake run` that talks to the API server, wired: stores, controller, the queue of writes. */
export type ControllerParts = {
  readonly stores: Stores;
  readonly controller: Controller;
  /** Looks at these Services again and writes what differs. */
  readonly enqueue: (services: Iterable<ServiceKey>) => void;
  /** Resolves after `signal` has aborted, when the last write has ended. */
  readonly drained: Promise<void>;
};

export type ControllerPartsDeps = {
  readonly client: KubeClient;
  readonly site: Site;
  readonly host: HostLink;
  readonly facts: (signal: AbortSignal) => Promise<HostFacts>;
  readonly records: RecordFile;
  readonly events: Pick<EventSender, 'record'>;
  /** False while another process may hold the Lease. */
  readonly mayWrite: () => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
};

/** Writes of Services under way at once: enough for 1,000 Services within a second, bounded for the API server's sake. */
const writeConcurrency = 16;

export function assembleController(deps: ControllerPartsDeps): ControllerParts {
  const { client, host, events, clock, log } = deps;
  const stores = makeStores(deps);
  const tell: Tell = (service, type, reason, note) =>
    events.record({ regarding: referenceTo(service), type, reason, action: 'Sync', note });
  const controller = makeController({
    ...deps,
    services: stores.services,
    nodes: stores.nodes,
    enqueue: (service) => queue.add(service),
    tell,
  });
  const writer = makeServiceWriter({
    services: stores.services,
    plan: () => controller.plan(),
    host,
    writes: makeServiceWrites(client),
    mayWrite: deps.mayWrite,
    tell,
    clock,
    log,
    metrics: deps.metrics,
  });
  const queue = makeQueue<ServiceKey>({
    ...deps,
    name: 'services',
    run: writer,
    concurrency: writeConcurrency,
    onError: (service, error, attempt) =>
      log.warn({ service, err: error, attempt }, 'could not write to the Service; trying again'),
  });
  return {
    stores,
    controller,
    enqueue: (services) => {
      for (const service of services) queue.add(service);
    },
    drained: queue.drained,
  };
}

function referenceTo({ namespace, name, uid }: Service): ObjectReference {
  return { apiVersion: 'v1', kind: 'Service', namespace, name, uid };
}
