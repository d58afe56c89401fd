import { type Ip, parseIp } from '../../src/core/ip/ip.ts';
import { type NodeName, serviceKey, type ServiceKey, type ServiceUid } from '../../src/core/model/names.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import {
  type Listener,
  localBackend,
  makeTable,
  nodesBackend,
  podBackend,
  type PodServer,
  type Server,
  type TrafficNode,
  type TrafficTable,
} from '../../src/core/traffic/table.ts';
import { makeListener } from '../../src/core/traffic/make-listener.ts';
import type { Addresses } from '../../src/ports/host.ts';

/** A TCP listener on all nodes of its family, reached on `targetPort`. */
export function listener(vip: string, port: number, targetPort: number, more: Partial<Listener> = {}): Listener {
  const address = addressOf(vip);
  const service = more.service ?? serviceKey('test', 'service');
  return makeListener({
    service,
    uid: `uid of ${service}` as ServiceUid,
    address,
    port,
    protocol: 'TCP',
    dataplane: 'haproxy',
    isPublished: false,
    standIn: undefined,
    needsProof: false,
    isAffine: false,
    affinitySeconds: 0,
    backend: nodesBackend(address.family),
    targetPort,
    sourceRanges: undefined,
    options: undefined,
    isDraining: false,
    isHostAddress: false,
    ...more,
  });
}

/** A TCP listener on the nodes that have endpoints of the Service. */
export function localListener(vip: string, port: number, targetPort: number, service = 'test/service'): Listener {
  const key = service as ServiceKey;
  return listener(vip, port, targetPort, { service: key, backend: localBackend(addressOf(vip).family, key) });
}

/** The weight of each node; one with `terminating` has only endpoints that terminate. */
export type Weights = Readonly<Record<string, number | { readonly terminating: number }>>;

/** A table in which the backends of these listeners have nodes of their own, with a health check port. */
export function localTable(
  listeners: readonly (readonly [Listener, Weights])[],
  nodes: readonly TrafficNode[],
  healthCheckPort = 32_000,
): TrafficTable {
  const table = tableOf(
    listeners.map(([each]) => each),
    nodes,
  );
  return {
    ...table,
    backends: table.backends.with(
      listeners.map(([{ backend, address }, weights]) => [
        backend,
        { family: address.family, servers: serversOf(weights), healthCheckPort },
      ]),
    ),
  };
}

function serversOf(weights: Weights): readonly Server[] {
  const sorted = Object.entries(weights).sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([name, weight]) => ({
    node: nodeName(name),
    weight: typeof weight === 'number' ? weight : weight.terminating,
    isDraining: typeof weight !== 'number',
  }));
}

/** A TCP listener on Pods; without a nodePort. */
export function podListener(vip: string, port: number, service = 'test/service'): Listener {
  const key = service as ServiceKey;
  return listener(vip, port, 0, { service: key, backend: podBackend(addressOf(vip).family, key, port) });
}

/** `10.244.1.7 8080`, with ` n1` if its node is known, and with ` draining`. */
export type PodText = string;

/** A table in which these listeners have Pods as servers. */
export function podTable(
  listeners: readonly (readonly [Listener, readonly PodText[]])[],
  nodes: readonly TrafficNode[] = [],
): TrafficTable {
  return {
    ...tableOf(
      listeners.map(([each]) => each),
      nodes,
    ),
    pods: PersistentMap.from(
      listeners.map(([{ backend, address }, pods]) => [backend, { family: address.family, pods: pods.map(podOf) }]),
    ),
  };
}

function podOf(text: PodText): PodServer {
  const [address = '', port, where = 'draining'] = text.split(' ');
  return {
    address: addressOf(address),
    port: Number(port),
    node: where === 'draining' ? undefined : nodeName(where),
    isDraining: text.endsWith('draining'),
  };
}

/** A UDP listener of `direct`. */
export function directListener(vip: string, port: number, more: Partial<Listener> = {}): Listener {
  return listener(vip, port, 0, { protocol: 'UDP', dataplane: 'direct', ...more });
}

/** A UDP listener of `nat`. */
export function natListener(vip: string, port: number, targetPort: number, more: Partial<Listener> = {}): Listener {
  return listener(vip, port, targetPort, { protocol: 'UDP', dataplane: 'nat', ...more });
}

export function tableOf(listeners: readonly Listener[], nodes: readonly TrafficNode[] = []): TrafficTable {
  return makeTable(listeners, nodes);
}

/** An active node of the table. */
export function node(name: string, ...addresses: readonly string[]): TrafficNode {
  return {
    name: nodeName(name),
    addresses: addresses.map(addressOf),
    podCidrs: [],
    bootId: undefined,
    state: 'active',
  };
}

export function addressOf(text: string): Ip {
  const ip = parseIp(text);
  if (ip === undefined) throw new Error(`${text} is not an address`);
  return ip;
}

/** Addresses by their text, as placement takes them. */
export function addressesOf(...texts: readonly string[]): Addresses {
  return PersistentMap.from(texts.map((text) => [text, addressOf(text)]));
}

export function nodeName(text: string): NodeName {
  return text as NodeName;
}
