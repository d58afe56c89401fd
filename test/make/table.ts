import { type Ip, parseIp } from '../../src/core/ip/ip.ts';
import { type NodeName, serviceKey } from '../../src/core/model/names.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import {
  type Listener,
  makeListener,
  makeTable,
  nodesBackend,
  type TrafficNode,
  type TrafficTable,
} from '../../src/core/traffic/table.ts';
import type { Addresses } from '../../src/ports/host.ts';

/** A TCP listener on all nodes of its family, reached on `targetPort`. */
export function listener(vip: string, port: number, targetPort: number, more: Partial<Listener> = {}): Listener {
  const address = addressOf(vip);
  return makeListener({
    service: serviceKey('test', 'service'),
    address,
    port,
    protocol: 'TCP',
    dataplane: 'haproxy',
    isPublished: false,
    standIn: undefined,
    needsProof: false,
    isAffine: false,
    backend: nodesBackend(address.family),
    targetPort,
    sourceRanges: undefined,
    isHostAddress: false,
    ...more,
  });
}

/** A UDP listener of `direct`. */
export function directListener(vip: string, port: number, more: Partial<Listener> = {}): Listener {
  return listener(vip, port, 0, { protocol: 'UDP', dataplane: 'direct', ...more });
}

export function tableOf(listeners: readonly Listener[], nodes: readonly TrafficNode[] = []): TrafficTable {
  return makeTable(listeners, nodes);
}

/** An active node of the table. */
export function node(name: string, ...addresses: readonly string[]): TrafficNode {
  return { name: nodeName(name), addresses: addresses.map(addressOf), state: 'active' };
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
