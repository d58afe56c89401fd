import { projectNode } from '../api/node.ts';
import { projectService } from '../api/service.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import type { Node } from '../core/model/node.ts';
import type { Service } from '../core/model/service.ts';
import type { KubeClient } from '../kube/client.ts';
import { feedStore } from '../kube/feed-store.ts';
import type { KubeObject } from '../kube/object.ts';
import { resourcePath } from '../kube/paths.ts';
import { makeStore, type Store } from '../kube/store.ts';
import { watchResource } from '../kube/watcher.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';

/** The stores of what is watched, and the watches that feed them. */
export type Stores = {
  readonly services: Store<Service, ServiceKey>;
  readonly nodes: Store<Node, NodeName>;
  /** Watches until `signal` aborts. */
  readonly watch: (signal: AbortSignal) => Promise<void>;
};

export type StoresDeps = {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
};

export function makeStores({ client, clock, random, log, metrics }: StoresDeps): Stores {
  const services = makeStore<Service, ServiceKey>({ keyOf: (service) => service.key, uidOf: (service) => service.uid });
  const nodes = makeStore<Node, NodeName>({ keyOf: (node) => node.name });
  const follow = <T, K extends string>(
    store: Store<T, K>,
    plural: string,
    project: (wire: KubeObject) => T,
    signal: AbortSignal,
  ): Promise<void> => {
    const path = resourcePath({ apiVersion: 'v1', plural });
    const events = watchResource({ client, path, project, signal, clock, random, metrics });
    return feedStore(store, events, log.child({ resource: plural }));
  };
  return {
    services,
    nodes,
    watch: async (signal) => {
      await Promise.all([
        follow(services, 'services', projectService, signal),
        follow(nodes, 'nodes', projectNode, signal),
      ]);
    },
  };
}
