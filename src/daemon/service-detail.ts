import type { Plan } from '../controller/controller.ts';
import { families, type Family } from '../core/ip/ip.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { ServiceSpec } from '../core/model/service.ts';
import { unreachedByNode } from '../core/status/unreached-nodes.ts';
import type { Dataplane, StandIn } from '../core/traffic/dataplane.ts';
import { dataplaneCause } from '../core/traffic/dataplane-cause.ts';
import type { HostReport, ListenerReport } from '../core/traffic/report.ts';
import {
  isNodesBackend,
  isPodBackend,
  type Listener,
  type ListenerAddress,
  listenerKey,
  type PodBackend,
} from '../core/traffic/table.ts';
import type { HostStatus, ServiceLine } from './host-status.ts';
import type { Traffic } from './traffic.ts';

/** The data of `furiwake status NS/NAME`; its JSON form is the answer of the admin socket. */
export type ServiceDetail = Pick<HostStatus, 'at' | 'notReady' | 'haproxy' | 'haproxyTrouble' | 'nodes'> & {
  readonly service: ServiceLine;
  readonly listeners: readonly ListenerLine[];
  /**
   * With `externalTrafficPolicy: Local` or Pods as servers, as the EndpointSlices say; otherwise, and while they are
   * not known, `undefined`.
   */
  readonly endpoints: readonly EndpointLine[] | undefined;
};

/** A node with endpoints of a Service. */
export type EndpointLine = {
  readonly node: string;
  readonly family: Family;
  /** Its share of the connections: the number of endpoints, or in proportion to it. */
  readonly weight: number;
  /**
   * - `terminating`: all of them terminate, so no connections while another node is ready.
   * - `draining`: of Pods, no new connections: they terminate, or are for other zones.
   * - `unreached`: `direct` sends no new flows to it, see `why`; ports of another dataplane may reach it.
   */
  readonly state: 'taking' | 'terminating' | 'draining' | 'unreached';
  /** Of `unreached`, in the words of the condition (`NodesNotReached`). */
  readonly why?: string;
};

export type ListenerLine = Pick<ListenerAddress, 'port' | 'protocol'> & {
  readonly address: string;
  readonly dataplane: Dataplane;
  /** Why this dataplane, in a few words; `undefined` of a Service that is gone. */
  readonly cause: string | undefined;
  /** What takes its new flows, because `direct` has no node for them. */
  readonly stoodInBy: StandIn | undefined;
  /** On the nodes; `undefined` for `direct`, which leaves the port as it is, and for Pods as servers. */
  readonly nodePort: number | undefined;
  /** Ranges of clients that may connect; `undefined`: all. */
  readonly sourceRanges: number | undefined;
  /** `undefined` while its dataplane does not answer. */
  readonly traffic: Traffic | undefined;
};

/** The listeners of a Service, in the order of its addresses and ports. Looks only at this Service. */
export function servedListeners(
  { assignments, table }: Pick<Plan, 'assignments' | 'table'>,
  service: ServiceKey,
): readonly Listener[] {
  const addresses = assignments.get(service)?.addresses ?? [];
  return addresses
    .flatMap(({ ip, served }) => served.map(({ port, protocol }) => listenerKey(ip, port, protocol)))
    .flatMap((key) => table.listeners.get(key) ?? []);
}

/** The nodes with endpoints of the Service, in the order of the families of its listeners. */
export function endpointLines(
  { table }: Pick<Plan, 'table'>,
  listeners: readonly Listener[],
  report: Pick<HostReport, 'listeners' | 'directObstacles' | 'health'>,
): readonly EndpointLine[] | undefined {
  const ids = [...new Set(listeners.map(({ backend }) => backend))].filter((id) => !isNodesBackend(id));
  const nodes = ids.flatMap((id) => table.backends.get(id) ?? []);
  const pods = ids.flatMap((id) => table.pods.get(id) ?? []);
  if (nodes.length + pods.length === 0) return undefined;
  const lines = nodes.flatMap(({ family, servers }) => {
    const those = listeners.filter(({ address }) => address.family === family);
    const unreached = unreachedByNode(family, those, table, report);
    return servers.map(({ node, weight, isDraining }): EndpointLine => {
      const why = unreached.get(node);
      if (isDraining) return { node, family, weight, state: 'terminating' };
      return why === undefined
        ? { node, family, weight, state: 'taking' }
        : { node, family, weight, state: 'unreached', why };
    });
  });
  // Ports with nodes of their own may have some in common.
  const once = [...Map.groupBy(lines, ({ node, family }) => `${node} ${family}`).values()].flatMap(
    ([first]) => first ?? [],
  );
  return [...once, ...families.flatMap((family) => podLines(family, pods))];
}

/** The Pods by their node; each counts once, on however many ports it serves. */
function podLines(family: Family, backends: readonly PodBackend[]): readonly EndpointLine[] {
  const byNode = new Map<string, Map<string, boolean>>();
  for (const { node = 'unknown node', address, isDraining } of backends.flatMap(({ pods }) => pods)) {
    if (address.family !== family) continue;
    const addresses = byNode.get(node) ?? new Map<string, boolean>();
    byNode.set(node, addresses.set(address.text, isDraining));
  }
  return Array.from(byNode, ([node, addresses]): EndpointLine => {
    const taking = [...addresses.values()].filter((isDraining) => !isDraining).length;
    return taking === 0
      ? { node, family, weight: addresses.size, state: 'draining' }
      : { node, family, weight: taking, state: 'taking' };
  });
}

/** `spec`: of its Service. `report`: of the host. */
export function listenerLine(
  listener: Listener,
  spec: ServiceSpec | undefined,
  report: Pick<ListenerReport, 'isForwarding' | 'standInTrouble'> | undefined,
  traffic: Traffic | undefined,
): ListenerLine {
  const { address, port, protocol, dataplane, backend, targetPort, sourceRanges } = listener;
  return {
    address: address.text,
    port,
    protocol,
    dataplane,
    cause: spec && dataplaneCause(spec, listener),
    stoodInBy: report?.isForwarding === true || report?.standInTrouble !== undefined ? undefined : listener.standIn,
    nodePort: targetPort === 0 || isPodBackend(backend) ? undefined : targetPort,
    sourceRanges: sourceRanges?.length,
    traffic,
  };
}
