import { families, type Family, type Ip } from '../ip/ip.ts';
import type { IpRange } from '../ip/range.ts';
import type { BackendId, ListenerKey, NodeName, ServiceKey, ServiceUid } from '../model/names.ts';
import type { Protocol } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { Revision } from '../revision.ts';
import type { Dataplane, StandIn } from './dataplane.ts';
import type { ListenerOptions } from './options.ts';

/**
 * The desired state of one load-balancer host, as plain data without Kubernetes. Five tables that change at different
 * rates, each with its own keys and compared on its own:
 *
 *   listeners   192.0.2.51|80|TCP → Service shop/web, haproxy, nodes4, target port 30692, open      change with Services
 *               192.0.2.52|53|UDP → Service dns/coredns, direct, nodes4, published, 10.0.0.0/8
 *   backends    nodes4 → n1, n2      nodes6 → n1      local4:shop/web → n1 weight 2, n3 weight 1    change with endpoints
 *   pods        pods4:shop/web:80 → 10.244.1.7:8080 on n1, 10.244.2.9:8080 on n2                    change with endpoints
 *               own4:dns/coredns:53/UDP → 10.244.1.8:53 on n1                 for the host itself, see `hostBackend`
 *   nodes       n1 192.0.2.11 2001:db8::11 active      n2 192.0.2.12 drain                          change with nodes
 *   withoutEndpoints  192.0.2.53|80|TCP                                                             change with endpoints
 *
 * Parts that did not change keep their identity from table to table.
 */
export type TrafficTable = {
  readonly listeners: Listeners;
  /** One that a listener names and that is missing is not known: a host keeps the servers that it has. */
  readonly backends: PersistentMap<BackendId, Backend>;
  /** The backends of Pods; one that a listener names and that is missing is not known either. */
  readonly pods: PersistentMap<BackendId, PodBackend>;
  readonly nodes: ReadonlyMap<NodeName, TrafficNode>;
  /** Those that are not among `nodes`: no client has their addresses. */
  readonly excludedNodes: readonly ExcludedNode[];
  /**
   * The listeners for which their Services have no endpoint that takes connections, whatever their servers are; each with the Service,
   * for another one may have the listener meanwhile. `undefined`: not known; a host keeps those that it has.
   */
  readonly withoutEndpoints: PersistentMap<ListenerKey, ServiceUid> | undefined;
};

export type Listeners = PersistentMap<ListenerKey, Listener>;

/** Where clients connect. */
export type ListenerAddress = { readonly address: Ip; readonly protocol: Protocol; readonly port: number };

/** A listener and the policy for its connections. The key of the Service is the only text in it that a user wrote. */
export type Listener = ListenerAddress & {
  readonly key: ListenerKey;
  /** For logs, for metrics, and to detect that a listener changes hands. Never part of a daemon's configuration. */
  readonly service: ServiceKey;
  /** The object: a Service that is deleted and created again under the same name is another one, and inherits no flow. */
  readonly uid: ServiceUid;
  readonly dataplane: Dataplane;
  /**
   * For `direct`: the status of the Service shows the address with `ipMode: VIP`. kube-proxy serves it from then on; before,
   * a node would route a packet for it back to the host. Otherwise false.
   */
  readonly isPublished: boolean;
  /**
   * For `direct`: the dataplane that takes new flows while no node is known to serve the listener itself. Without one their
   * packets are dropped.
   */
  readonly standIn: StandIn | undefined;
  /** For `direct`: only nodes that were shown to answer clients themselves get packets. */
  readonly needsProof: boolean;
  /** For `direct` and `nat`: all flows of a client go to one node (`sessionAffinity: ClientIP`). Otherwise false. */
  readonly isAffine: boolean;
  /** With affinity: how long a client keeps its node after its last flow began (`nat`) or its last packet (`direct`). Otherwise 0. */
  readonly affinitySeconds: number;
  readonly backend: BackendId;
  /**
   * The port on every server of the backend: a nodePort. 0 for `direct` without a stand-in, which leaves the port of a
   * packet as it is, and for Pods without a nodePort.
   */
  readonly targetPort: number;
  /** Merged, of the listener's family. `undefined`: open to all; empty: closed to all. */
  readonly sourceRanges: readonly IpRange[] | undefined;
  /** For HAProxy: what it does for the listener beyond carrying its bytes. `undefined`: nothing. */
  readonly options: ListenerOptions | undefined;
  /** New flows are refused, and those that exist continue (`furiwake drain NS/NAME`). No effect for `direct`. */
  readonly isDraining: boolean;
  /** The address is the host's own: furiwake never adds it to the host nor announces it. */
  readonly isHostAddress: boolean;
  /** Hash of all of the above. */
  readonly revision: Revision;
};

/**
 * The source ranges of the listeners of a withdrawn host, whose established connections continue. They are known by identity:
 * an empty list of a Service is another object.
 */
export const withdrawnRanges: readonly IpRange[] = [];

/** A set of servers of one family. */
export type Backend = {
  readonly family: Family;
  /** Each node once, in the order of their names. */
  readonly servers: readonly Server[];
  /**
   * The port on which kube-proxy says whether the node has endpoints of the Service (`healthCheckNodePort`); `undefined`:
   * every server takes connections.
   */
  readonly healthCheckPort: number | undefined;
};

/** One server of a backend: a cluster node, reached on the listener's target port. */
export type Server = {
  readonly node: NodeName;
  /** Its share of the new connections, relative to those of the other servers; at least 1. */
  readonly weight: number;
  /**
   * It keeps the connections that it has. As planned: all its endpoints terminate, so it takes new ones only while no other
   * server can (KEP-1669). As admitted (`Confirmations`): it takes none.
   */
  readonly isDraining: boolean;
};

/** A set of Pods of one family, for HAProxy. */
export type PodBackend = {
  readonly family: Family;
  /** Each address and port once, in the order of their texts. */
  readonly pods: readonly PodServer[];
};

/** An endpoint of a Service, reached on its own port. */
export type PodServer = {
  readonly address: Ip;
  readonly port: number;
  /** Where it runs; `undefined`: its EndpointSlice does not say. */
  readonly node: NodeName | undefined;
  /** It keeps the connections that it has and takes no new ones: others are ready, and it terminates (KEP-1669) or is for other zones. */
  readonly isDraining: boolean;
};

/** A cluster node. `drain`: it gets no new connections, and those that exist continue. */
export type TrafficNode = {
  readonly name: NodeName;
  /** At most one per family. */
  readonly addresses: readonly Ip[];
  /** Addresses of its Pods; none where the cluster does not allocate them by node. */
  readonly podCidrs: readonly IpRange[];
  /** Another one after each start of its kernel, if it is known. */
  readonly bootId: string | undefined;
  readonly state: 'active' | 'drain';
};

export type ExcludedNode = Pick<TrafficNode, 'addresses' | 'podCidrs'>;

const nodesBackendIds = { 4: 'nodes4' as BackendId, 6: 'nodes6' as BackendId };

/** The backend of all cluster nodes with an address of the family. */
export function nodesBackend(family: Family): BackendId {
  return nodesBackendIds[family];
}

export function isNodesBackend(id: BackendId): boolean {
  return id === nodesBackend(4) || id === nodesBackend(6);
}

/** The backend of the nodes that have endpoints of the Service (`externalTrafficPolicy: Local`). */
export function localBackend(family: Family, service: ServiceKey): BackendId {
  return `local${family}:${service}` as BackendId;
}

/** The backend of the Pods that serve a TCP port of the Service. */
export function podBackend(family: Family, service: ServiceKey, port: number): BackendId {
  return `pods${family}:${service}:${port}` as BackendId;
}

export function isPodBackend(id: BackendId): boolean {
  return id.startsWith('pods');
}

/** The Service of a {@link localBackend} or a {@link podBackend}. */
export function serviceOfBackend(id: BackendId): ServiceKey {
  const [, service = ''] = id.split(':');
  return service as ServiceKey;
}

export const emptyTable: TrafficTable = {
  listeners: PersistentMap.empty(),
  backends: PersistentMap.empty(),
  pods: PersistentMap.empty(),
  nodes: new Map(),
  excludedNodes: [],
  withoutEndpoints: undefined,
};

export function listenerKey(address: Ip, port: number, protocol: Protocol): ListenerKey {
  return [address.text, port, protocol].join('|') as ListenerKey; // kept: docs/adr/0021
}

/**
 * The dataplane that serves the listener in the stack of the host: always, or as the stand-in of `direct`. `undefined`: `direct`
 * serves it alone.
 */
export function stackDataplane({ dataplane, standIn }: Pick<Listener, 'dataplane' | 'standIn'>): StandIn | undefined {
  return dataplane === 'direct' ? standIn : dataplane;
}

/** Whether HAProxy serves the listener: always, or as the stand-in of `direct`. */
export function usesHaproxy(listener: Pick<Listener, 'dataplane' | 'standIn'>): boolean {
  return stackDataplane(listener) === 'haproxy';
}

/** Whether `nat` serves the listener: always, or as the stand-in of `direct`. */
export function usesNat(listener: Pick<Listener, 'dataplane' | 'standIn'>): boolean {
  return stackDataplane(listener) === 'nat';
}

/** Makes a table with the backends of all nodes. If two listeners have the same key, the later one counts. */
export function makeTable(listeners: Iterable<Listener>, nodes: readonly TrafficNode[]): TrafficTable {
  return {
    listeners: PersistentMap.from(Array.from(listeners, (listener) => [listener.key, listener])),
    backends: nodesBackends(nodes),
    pods: PersistentMap.empty(),
    nodes: new Map(nodes.map((node) => [node.name, node])),
    excludedNodes: emptyTable.excludedNodes,
    withoutEndpoints: undefined,
  };
}

/** `nodes4` and `nodes6`, each with the nodes that have an address of its family. */
export function nodesBackends(nodes: readonly TrafficNode[]): TrafficTable['backends'] {
  return PersistentMap.from(
    families.map((family): [BackendId, Backend] => [
      nodesBackend(family),
      {
        family,
        servers: nodes
          .filter((node) => addressOfNode(node, family) !== undefined)
          .map(({ name }) => ({ node: name, weight: 1, isDraining: false })),
        healthCheckPort: undefined,
      },
    ]),
  );
}

/**
 * The servers of a backend that a listener names. While it is not known, all nodes of the family stand in: a wrong node costs
 * a connection half a second with HAProxy, none would cost all.
 */
export function backendOf({ backends }: TrafficTable, id: BackendId, family: Family): Backend {
  return backends.get(id) ?? backends.get(nodesBackend(family)) ?? { family, servers: [], healthCheckPort: undefined };
}

export function addressOfNode({ addresses }: TrafficNode, family: Family): Ip | undefined {
  return addresses.find((address) => address.family === family);
}
