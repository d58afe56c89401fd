import { type Ip, parseIp } from '../../src/core/ip/ip.ts';
import { type NodeName, serviceKey } from '../../src/core/model/names.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import * as core from '../../src/core/traffic/table.ts';
import { type Backend, emptyTable, listenerKey, type Row, type TrafficTable } from '../../src/core/traffic/table.ts';
import type { Addresses } from '../../src/ports/host.ts';

/** A row on the shared nodes, if `to` is a nodePort, or on a backend of its own. */
export function row(vip: string, port: number, to: number | Backend, more: Partial<Row> = {}): Row {
  const address = addressOf(vip);
  return {
    key: listenerKey(address, port, 'TCP'),
    service: serviceKey('test', 'service'),
    address,
    port,
    protocol: 'TCP',
    backend: typeof to === 'number' ? { kind: 'nodes', family: address.family, nodePort: to } : to,
    sourceRanges: undefined,
    maxConnections: undefined,
    ...more,
  };
}

export function tableOf(rows: readonly Row[], nodes: TrafficTable['nodes'] = emptyTable.nodes): TrafficTable {
  return core.tableOf(rows, nodes);
}

/** An active node of the table. */
export function server(name: string, address: string): TrafficTable['nodes'][4][number] {
  return { node: nodeName(name), address: addressOf(address), state: 'active' };
}

export function addressOf(text: string): Ip {
  const ip = parseIp(text);
  if (ip === undefined) throw new Error(`${text} is no address`);
  return ip;
}

/** Addresses by their text, as the announcer takes them. */
export function addressesOf(...texts: readonly string[]): Addresses {
  return PersistentMap.from(texts.map((text) => [text, addressOf(text)]));
}

export function nodeName(text: string): NodeName {
  return text as NodeName;
}
