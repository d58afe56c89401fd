import { type EndpointSlice, projectEndpointSlice } from '../api/endpoint-slice.ts';
import { projectNode } from '../api/node.ts';
import { makeRepeats } from '../core/repeats.ts';
import { projectService } from '../api/service.ts';
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
import { type EndpointsByService, makeEndpointsByService } from './service-endpoints.ts';

/** The stores of what is watched, and the watches that feed them. */
export type Stores = {
  readonly services: Store<Service, ServiceKey>;
  readonly nodes: Store<Node, NodeName>;
  readonly endpoints: EndpointsByService;
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

export function makeStores({ client, site, clock, random, log, metrics }: StoresDeps): Stores {
  const services = makeStore<Service, ServiceKey>({ keyOf: (service) => service.key });
  const nodes = makeStore<Node, NodeName>({ keyOf: (node) => node.name });
  const slices = makeStore<EndpointSlice>({ keyOf: (slice) => slice.key });
  const endpoints = makeEndpointsByService(slices);
  const [onceInServices, onceInSlices] = [makeRepeats(), makeRepeats()];
  const decodeService = (wire: unknown): Service => projectService(wire, site.defaults, onceInServices);
  const decodeSlice = (wire: unknown): EndpointSlice => projectEndpointSlice(wire, onceInSlices);
  const follow = <T, K extends string>(
    store: Store<T, K>,
    resource: Resource,
    project: (wire: KubeObject) => T,
    signal: AbortSignal,
  ): Promise<void> => {
    const path = resourcePath(resource);
    const { newestAnswer } = store;
    const events = watchResource({ client, path, project, newestAnswer, signal, clock, random, metrics });
    return feedStore(store, events, { what: `watching ${resource.plural}`, clock, log });
  };
  return {
    services,
    nodes,
    endpoints,
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
