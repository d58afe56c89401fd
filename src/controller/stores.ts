import { type EndpointSlice, projectEndpointSlice } from '../api/endpoint-slice.ts';
import { projectNode } from '../api/node.ts';
import { makeRepeats } from '../core/repeats.ts';
import { projectService } from '../api/service.ts';
import { makeTrouble } from '../async/trouble.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import type { Node } from '../core/model/node.ts';
import type { Service } from '../core/model/service.ts';
import type { Site } from '../core/model/site.ts';
import type { KubeClient } from '../kube/client.ts';
import { feedStore, makeStore, type Store } from '../kube/store.ts';
import type { KubeObject } from '../kube/object.ts';
import { type Resource, resourcePath } from '../kube/paths.ts';
import { watchResource } from '../kube/watcher.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import { makeEndpointsCurrent } from './endpoints-current.ts';
import { makeWatchHealth, provenMs } from './watch-health.ts';
import { type EndpointsByService, makeEndpointsByService } from './service-endpoints.ts';

/** The stores of what is watched, and the watches that feed them. */
export type Stores = {
  readonly services: Store<Service, ServiceKey>;
  readonly nodes: Store<Node, NodeName>;
  readonly endpoints: EndpointsByService;
  /** Changes in the cluster that have not been seen for some time, because a watch fails: a sentence each. */
  readonly unseen: () => readonly string[];
  /** Decodes a Service as the watch does: the answer to a write. */
  readonly decodeService: (wire: unknown) => Service;
  /** Watches until `signal` aborts. */
  readonly watch: (signal: AbortSignal) => Promise<void>;
};

export type StoresDeps = {
  readonly client: KubeClient;
  readonly site: Pick<Site, 'defaults'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** A failure that lasts longer is shown: it is not a restart of the API server. */
const unseenMs = 30_000;

function unseenWords(plural: string, why: string): string {
  const names: Record<string, string> = { services: 'Services', nodes: 'Nodes', endpointslices: 'EndpointSlices' };
  return `changes of ${names[plural]} are not seen: ${why}`;
}

export function makeStores({ client, site, clock, random, log, metrics }: StoresDeps): Stores {
  const services = makeStore<Service, ServiceKey>({ keyOf: (service) => service.key });
  const nodes = makeStore<Node, NodeName>({ keyOf: (node) => node.name });
  const slices = makeStore<EndpointSlice>({ keyOf: (slice) => slice.key });
  const monotonic = (): number => clock.monotonic();
  const health = {
    services: makeWatchHealth(monotonic),
    nodes: makeWatchHealth(monotonic),
    endpointslices: makeWatchHealth(monotonic),
  };
  const endpoints = makeEndpointsByService(slices);
  const judgeEndpoints = makeEndpointsCurrent({ health, setCurrent: endpoints.setCurrent, clock });
  const [onceInServices, onceInSlices] = [makeRepeats(), makeRepeats()];
  const decodeService = (wire: unknown): Service => projectService(wire, site.defaults, onceInServices);
  const decodeSlice = (wire: unknown): EndpointSlice => projectEndpointSlice(wire, onceInSlices);
  const follow = <T, K extends string>(
    store: Store<T, K>,
    resource: Resource & { readonly plural: keyof typeof health },
    project: (wire: KubeObject) => T,
    signal: AbortSignal,
  ): Promise<void> => {
    const path = resourcePath(resource);
    const { newestAnswer } = store;
    const { note, noteAccepted, failure } = health[resource.plural];
    const what = `watching ${resource.plural}`;
    const trouble = makeTrouble({ what, log, clock });
    let lastAcceptedMs = 0;
    const onAccepted = (): void => {
      noteAccepted();
      const acceptedAtMs = (lastAcceptedMs = monotonic());
      const judge = (): void => {
        if (acceptedAtMs === lastAcceptedMs && failure() === undefined) trouble.over(acceptedAtMs);
      };
      clock.sleep(provenMs, signal).then(judge, () => undefined); // the log and its metric do not wait for the next event
    };
    const events = watchResource({ client, path, project, newestAnswer, onAccepted, signal, clock, random, metrics });
    const noted = async function* (): typeof events {
      for await (const event of events) {
        note(event);
        if (event.type === 'error' && resource.plural === 'endpointslices') judgeEndpoints(signal);
        yield event;
      }
    };
    return feedStore(store, noted(), { what, trouble, log });
  };
  return {
    services,
    nodes,
    endpoints,
    unseen: () =>
      Object.entries(health).flatMap(([plural, { failure }]) => {
        const found = failure();
        return found === undefined || found.lastsMs < unseenMs ? [] : [unseenWords(plural, found.words)];
      }),
    decodeService,
    watch: async (signal) => {
      await Promise.all([
        follow(services, { apiVersion: 'v1', plural: 'services' }, decodeService, signal),
        follow(nodes, { apiVersion: 'v1', plural: 'nodes' }, projectNode, signal),
        follow(slices, { apiVersion: 'discovery.k8s.io/v1', plural: 'endpointslices' }, decodeSlice, signal),
      ]);
    },
  };
}
