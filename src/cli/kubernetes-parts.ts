import { projectNode } from '../api/node.ts';
import { projectService } from '../api/service.ts';
import type { Node } from '../core/model/node.ts';
import type { Service } from '../core/model/service.ts';
import type { KubeClient } from '../kube/client.ts';
import { feedStore } from '../kube/feed-store.ts';
import type { KubeObject } from '../kube/object.ts';
import { resourcePath } from '../kube/paths.ts';
import { makeStore, type Store } from '../kube/store.ts';
import { watchResource } from '../kube/watcher.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Machine } from './machine.ts';

/** The stores of what we watch, and the watches that feed them. */
export type KubernetesParts = {
  readonly services: Store<Service>;
  readonly nodes: Store<Node>;
  /** Watches until `signal` aborts. */
  readonly watch: (signal: AbortSignal) => Promise<void>;
};

export function makeKubernetesParts({
  client,
  machine,
  log,
  metrics,
}: {
  readonly client: KubeClient;
  readonly machine: Machine;
  readonly log: Log;
  readonly metrics: Metrics;
}): KubernetesParts {
  const services = makeStore<Service>({ keyOf: (service) => service.key, uidOf: (service) => service.uid });
  const nodes = makeStore<Node>({ keyOf: (node) => node.name });
  const follow = <T>(
    store: Store<T>,
    plural: string,
    project: (wire: KubeObject) => T,
    signal: AbortSignal,
  ): Promise<void> => {
    const { clock, random } = machine;
    const path = resourcePath({ apiVersion: 'v1', plural });
    return feedStore(
      store,
      watchResource({ client, path, project, signal, clock, random, metrics }),
      log.child({ resource: plural }),
    );
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
