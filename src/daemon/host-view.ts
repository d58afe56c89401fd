import { setImmediate } from 'node:timers/promises';
import type { Agent } from '../agent/agent.ts';
import { valueWithin } from '../async/settles-within.ts';
import type { ControllerParts } from '../controller/assemble.ts';
import type { Plan } from '../controller/controller.ts';
import type { UnwrittenServices } from '../controller/unwritten.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import type { Node } from '../core/model/node.ts';
import type { Service } from '../core/model/service.ts';
import { countNodes, type NodeState, nodeStates } from '../core/status/node-states.ts';
import type { Dataplane } from '../core/traffic/dataplane.ts';
import { pastHaproxy } from '../core/traffic/past-haproxy.ts';
import { emptyTable } from '../core/traffic/table.ts';
import type { Clock } from '../ports/clock.ts';
import type { Proxy } from '../ports/proxy.ts';
import type { HostMetricsSource } from './host-metrics.ts';
import {
  countOtherServices,
  countServices,
  haproxyTrouble,
  type HostStatus,
  type NodeLine,
  nodeLines,
  serviceLine,
  serviceLines,
  unusedNodes,
} from './host-status.ts';
import { answerMs } from './ask.ts';
import { poolStatus } from './pool-status.ts';
import type { ReadCounters } from './counters.ts';
import { endpointLines, listenerLine, servedListeners, type ServiceDetail } from './service-detail.ts';
import { makeTrafficMeter, sumTraffic, trafficOfServices } from './traffic.ts';

export type HostViewDeps = {
  readonly process: Pick<HostStatus, 'version' | 'pid' | 'loadBalancerClass'>;
  readonly cluster: () => HostStatus['cluster'];
  /** Why this host is not ready, a line each. */
  readonly notReady: () => readonly string[];
  /** Of the current term of the Lease. */
  readonly parts: () => Pick<ControllerParts, 'stores' | 'controller' | 'unwritten'> | undefined;
  readonly agent: Pick<Agent, 'desired' | 'report' | 'isServing' | 'troubles'>;
  readonly proxy: Pick<Proxy, 'observe' | 'serverCounters' | 'trouble'>;
  readonly counters: ReadCounters;
  readonly clock: Clock;
};

/** What this furiwake shows of itself, at the moment of the call: to `furiwake status`, to metrics, and in the log. */
export type HostView = {
  readonly status: (signal: AbortSignal) => Promise<HostStatus>;
  /**
   * One Service, at a cost that does not depend on the number of Services. `undefined` if furiwake serves none of this name;
   * `unknown` without a plan.
   */
  readonly service: (key: ServiceKey, signal: AbortSignal) => Promise<ServiceDetail | undefined | 'unknown'>;
  /** The nodes as HAProxy has them; none if it does not answer. */
  readonly nodes: (signal: AbortSignal) => Promise<readonly NodeLine[]>;
  /** The dataplanes that send flows to the node past HAProxy: these are not counted by node. */
  readonly pastHaproxy: (node: NodeName) => readonly Dataplane[];
  readonly metrics: (signal: AbortSignal) => Promise<HostMetricsSource>;
  /** All nodes of the cluster; `undefined` without a plan. */
  readonly nodeStates: () => ReadonlyMap<NodeName, NodeState> | undefined;
};

export function makeHostView({
  process,
  cluster,
  notReady,
  parts,
  agent,
  proxy,
  counters,
  clock,
}: HostViewDeps): HostView {
  const startedMs = clock.monotonic();
  const planned = (): PlannedCluster | undefined => {
    const { stores, controller, unwritten } = parts() ?? {};
    const plan = controller?.plan();
    if (plan === undefined || stores === undefined) return undefined;
    return {
      plan,
      services: stores.services.objects(),
      nodes: stores.nodes.objects(),
      isWithdrawn: !agent.isServing(),
      unwritten,
      troubles: agent.troubles(),
    };
  };
  const statesOf = ({ plan, nodes }: PlannedCluster): ReadonlyMap<NodeName, NodeState> =>
    nodeStates({ nodes, table: plan.table, health: agent.report().health });
  const past = (node: NodeName): readonly Dataplane[] => pastHaproxy(planned()?.plan.table ?? emptyTable, node);
  const trafficOf = makeTrafficMeter({ read: counters, clock });
  const host = async (
    signal: AbortSignal,
  ): Promise<Pick<HostStatus, 'at' | 'notReady' | 'haproxy' | 'haproxyTrouble' | 'nodes'>> => {
    const haproxy = await valueWithin(proxy.observe(signal), undefined, answerMs, clock, signal);
    return {
      at: new Date(clock.now()).toISOString(),
      notReady: notReady(),
      haproxy,
      haproxyTrouble: haproxy === undefined ? haproxyTrouble(agent, proxy) : undefined,
      nodes: nodeLines(haproxy, clock, past),
    };
  };
  return {
    status: async (signal) => {
      const [shown, traffic] = await Promise.all([host(signal), trafficOf(signal)]);
      const now = planned();
      return {
        ...process,
        ...shown,
        upSeconds: Math.round((clock.monotonic() - startedMs) / 1000),
        cluster: cluster(),
        pool: now && poolStatus(now.plan),
        services: now === undefined ? [] : serviceLines(now, traffic, clock.now()),
        otherServices: now === undefined ? 0 : countOtherServices(now),
        nodeStates: now && countNodes(statesOf(now)),
        unusedNodes: now === undefined ? [] : unusedNodes(now.nodes),
      };
    },
    service: async (key, signal) => {
      const now = planned();
      if (now === undefined) return 'unknown';
      const listeners = servedListeners(now.plan, key);
      const [shown, traffic] = await Promise.all([
        host(signal),
        trafficOf(
          signal,
          listeners.map((listener) => listener.key),
        ),
      ]);
      const service = serviceLine(now, key, sumTraffic(traffic.values()), clock.now());
      return (
        service && {
          ...shown,
          service,
          listeners: listeners.map((listener) =>
            listenerLine(
              listener,
              now.services.get(key)?.spec,
              agent.report().listeners.get(listener.key),
              traffic.get(listener.key),
            ),
          ),
          endpoints: endpointLines(now.plan, listeners, agent.report()),
        }
      );
    },
    nodes: async (signal) => (await host(signal)).nodes,
    pastHaproxy: past,
    metrics: async (signal) => {
      const [measured, traffic] = await Promise.all([
        valueWithin(proxy.serverCounters(signal), undefined, answerMs, clock, signal),
        trafficOf(signal),
      ]);
      const now = planned();
      // Each of these reads all Services: other work goes between them.
      await setImmediate();
      const pool = now && poolStatus(now.plan);
      await setImmediate();
      const services = now && countServices(now);
      await setImmediate();
      return {
        measured,
        isReady: notReady().length === 0,
        pool,
        services,
        traffic: now === undefined ? new Map() : trafficOfServices(now.plan.table, traffic),
      };
    },
    nodeStates: () => {
      const now = planned();
      return now && statesOf(now);
    },
  };
}

/** The last plan, and what the cluster has now. */
type PlannedCluster = {
  readonly plan: Plan;
  readonly services: ReadonlyMap<ServiceKey, Service>;
  readonly nodes: ReadonlyMap<NodeName, Node>;
  readonly isWithdrawn: boolean;
  readonly unwritten: UnwrittenServices | undefined;
  readonly troubles: readonly string[];
};
