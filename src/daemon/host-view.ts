import type { Agent } from '../agent/agent.ts';
import type { ControllerParts } from '../controller/assemble.ts';
import type { Plan } from '../controller/controller.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import type { Node } from '../core/model/node.ts';
import type { Service } from '../core/model/service.ts';
import { countNodes, type NodeState, nodeStates } from '../core/status/node-states.ts';
import type { Clock } from '../ports/clock.ts';
import type { Proxy } from '../ports/proxy.ts';
import type { HostMetricsSource } from './host-metrics.ts';
import {
  countOtherServices,
  countServices,
  haproxyTrouble,
  type HostStatus,
  nodeLines,
  poolStatus,
  serviceLines,
  unusedNodes,
} from './host-status.ts';

export type HostViewDeps = {
  readonly process: Pick<HostStatus, 'version' | 'pid' | 'loadBalancerClass'>;
  readonly cluster: () => HostStatus['cluster'];
  /** Why this host is not ready, a line each. */
  readonly notReady: () => readonly string[];
  /** Of the current term of the Lease. */
  readonly parts: () => Pick<ControllerParts, 'stores' | 'controller'> | undefined;
  readonly agent: Pick<Agent, 'desired' | 'report'>;
  readonly proxy: Pick<Proxy, 'observe' | 'trouble'>;
  readonly clock: Clock;
};

/** What this furiwake shows of itself, at the moment of the call: to `furiwake status`, to metrics, and in the log. */
export type HostView = {
  readonly status: (signal: AbortSignal) => Promise<HostStatus>;
  readonly metrics: () => HostMetricsSource;
  /** All nodes of the cluster; `undefined` without a plan. */
  readonly nodeStates: () => ReadonlyMap<NodeName, NodeState> | undefined;
};

export function makeHostView({ process, cluster, notReady, parts, agent, proxy, clock }: HostViewDeps): HostView {
  const startedMs = clock.monotonic();
  const known = (): Known | undefined => {
    const { stores, controller } = parts() ?? {};
    const plan = controller?.plan();
    return plan && stores && { plan, services: stores.services.objects(), nodes: stores.nodes.objects() };
  };
  const statesOf = ({ plan, nodes }: Known): ReadonlyMap<NodeName, NodeState> =>
    nodeStates({ nodes, table: plan.table, health: agent.report().health });
  return {
    status: async (signal) => {
      const haproxy = await proxy.observe(signal).catch(() => undefined);
      const now = known();
      return {
        ...process,
        upSeconds: Math.round((clock.monotonic() - startedMs) / 1000),
        cluster: cluster(),
        notReady: notReady(),
        haproxy,
        haproxyTrouble: haproxy === undefined ? haproxyTrouble(agent, proxy) : undefined,
        pool: now && poolStatus(now.plan),
        services: now === undefined ? [] : serviceLines(now, haproxy, clock.now()),
        otherServices: now === undefined ? 0 : countOtherServices(now),
        nodeStates: now && countNodes(statesOf(now)),
        nodes: nodeLines(haproxy, clock.monotonic()),
        unusedNodes: now === undefined ? [] : unusedNodes(now.nodes),
      };
    },
    metrics: () => {
      const now = known();
      return {
        isReady: notReady().length === 0,
        pool: now && poolStatus(now.plan),
        services: now && countServices(now),
      };
    },
    nodeStates: () => {
      const now = known();
      return now && statesOf(now);
    },
  };
}

type Known = {
  readonly plan: Plan;
  readonly services: ReadonlyMap<ServiceKey, Service>;
  readonly nodes: ReadonlyMap<NodeName, Node>;
};
