import { makeAlarm } from '../async/alarm.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { KubeClient } from '../kube/client.ts';
import { isServerFailure, isWebhookFailure } from '../kube/errors.ts';
import type { EventSender } from '../kube/events.ts';
import { makeQueue } from '../kube/queue.ts';
import { makeSharedTrouble } from '../kube/shared-trouble.ts';
import type { Random } from '../ports/clock.ts';
import type { Metrics } from '../ports/metrics.ts';
import { type Controller, type ControllerDeps, makeController } from './controller.ts';
import { makeHolders } from './holders.ts';
import type { RecordEvent } from './record-events.ts';
import { makeServiceWriter } from './service-writer.ts';
import { makeServiceWrites, referenceTo } from './service-writes.ts';
import { makeStores, type Stores } from './stores.ts';
import { attemptsBeforeWarning, type Unwritten, type UnwrittenServices } from './unwritten.ts';

/** Everything of `furiwake run` that talks to the API server, wired: stores, controller, the queue of writes. */
export type ControllerParts = {
  readonly stores: Stores;
  readonly controller: Controller;
  readonly unwritten: UnwrittenServices;
  /** Resolves after `signal` has aborted, when the last write has ended. */
  readonly drained: Promise<void>;
};

export type ControllerPartsDeps = Omit<
  ControllerDeps,
  'services' | 'nodes' | 'endpoints' | 'enqueue' | 'recordEvent'
> & {
  readonly client: KubeClient;
  readonly events: Pick<EventSender, 'record'>;
  /** False while another process may hold the Lease. */
  readonly mayWrite: () => boolean;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
};

/** Writes of Services of a namespace under way at once: enough for 1,000 Services within a second, bounded for the API server's sake. */
export const writeConcurrency = 16;
const leaseCheckMs = 1_000;

export function assembleController(deps: ControllerPartsDeps): ControllerParts {
  const { client, host, events, clock, log } = deps;
  const stores = makeStores(deps);
  const recordEvent: RecordEvent = (service, type, reason, note) =>
    events.record({ regarding: referenceTo(service), type, reason, action: 'Sync', note });
  const controller = makeController({
    ...deps,
    services: stores.services,
    nodes: stores.nodes,
    endpoints: stores.endpoints,
    enqueue: (service) => queue.add(service),
    recordEvent,
  });
  /** Services whose write waits for the Lease: one check a second for all of them. */
  const heldBack = new Set<ServiceKey>();
  const leaseCheck = makeAlarm({
    clock,
    signal: deps.signal,
    ring: () => {
      if (!deps.mayWrite()) return leaseCheck.setAt(clock.monotonic() + leaseCheckMs);
      const services = [...heldBack];
      heldBack.clear(); // first: some run at once, and are held back again if the Lease has ended meanwhile
      for (const service of services) queue.add(service);
    },
  });
  const trouble = makeSharedTrouble<ServiceKey>({ what: 'writing to Services', clock, log });
  const unwritten = new Map<ServiceKey, Unwritten>();
  const writer = makeServiceWriter({
    services: stores.services,
    plan: () => controller.plan(),
    host,
    holders: makeHolders(host),
    endpoints: (service) => stores.endpoints.countOf(service),
    areEndpointsCurrent: () => stores.endpoints.areCurrent(),
    podsOf: (service) => stores.endpoints.all()?.get(service),
    decodeService: stores.decodeService,
    writes: makeServiceWrites(client),
    mayWrite: deps.mayWrite,
    holdBack: (service) => {
      heldBack.add(service);
      leaseCheck.setAt(clock.monotonic() + leaseCheckMs);
    },
    trouble,
    recordEvent,
    unwritten,
    clock,
    log,
    metrics: deps.metrics,
  });
  const queue = makeQueue<ServiceKey>({
    ...deps,
    name: 'services',
    run: writer,
    concurrency: writeConcurrency,
    groupOf: (service) => service.slice(0, service.indexOf('/')),
    onError: (service, error, attempt) => {
      if (isServerFailure(error) && !isWebhookFailure(error)) trouble.failed(service, error);
      else if (attempt >= attemptsBeforeWarning) trouble.failed(service, error, { service });
      else log.debug({ service, err: error }, 'writing to the Service failed; retrying');
    },
  });
  const unsubscribe = stores.endpoints.subscribe((_, turned) => {
    for (const service of turned) queue.add(service);
  });
  deps.signal.addEventListener('abort', unsubscribe, { once: true });
  const forgetCurrent = stores.endpoints.onCurrent(() => {
    for (const service of stores.services.objects().keys()) queue.add(service);
  });
  deps.signal.addEventListener('abort', forgetCurrent, { once: true });
  return { stores, controller, unwritten, drained: queue.drained };
}
