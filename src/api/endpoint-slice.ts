import type { Family } from '../core/ip/ip.ts';
import { type NodeName, serviceKey, type ServiceKey } from '../core/model/names.ts';
import type { Protocol } from '../core/model/service.ts';
import { type NodeEndpoints, sumOfEndpoints } from '../core/traffic/local.ts';
import { type Endpoint, type EndpointGroup, impossibleEndpoint } from '../core/traffic/pods.ts';
import { asDecoded, type Once } from '../core/repeats.ts';
import { fieldsOf, integerOf, type Json, listOf, textOf, textsOf } from './wire.ts';

/** The fields of a discovery.k8s.io/v1 EndpointSlice that are kept. `family`: `undefined` for host names. */
export type EndpointSlice = EndpointGroup & {
  readonly key: string;
  /** The Service that it belongs to; `undefined` if the label is missing. */
  readonly service: ServiceKey | undefined;
};

const serviceLabel = 'kubernetes.io/service-name';

/** Projects an EndpointSlice to the fields that are kept. `once`: for the parts that are equal in many. Total: never throws. */
export function projectEndpointSlice(wire: Json, once: Once = asDecoded): EndpointSlice {
  const object = fieldsOf(wire);
  const metadata = fieldsOf(object['metadata']);
  const [namespace, name] = [textOf(metadata['namespace']), textOf(metadata['name'])];
  const service = textOf(fieldsOf(metadata['labels'])[serviceLabel]);
  const endpoints = compact(listOf(object['endpoints']).map((endpoint) => projectEndpoint(endpoint, once)));
  const family = familyOf(object['addressType']);
  return {
    key: [namespace, name].join('/'), // kept: docs/adr/0021
    service: service === '' ? undefined : serviceKey(namespace, service),
    family,
    ports: once(compact(listOf(object['ports']).map(projectPort))),
    endpoints,
    nodes: once(family === undefined ? [] : countByNode(family, endpoints)),
  };
}

/** Those that are there. A list of all is returned itself: `filter` takes the room of 17 for the first one. */
function compact<T>(list: readonly (T | undefined)[]): readonly T[] {
  const isWhole = (all: readonly (T | undefined)[]): all is readonly T[] => !all.includes(undefined);
  return isWhole(list) ? list : list.filter((each) => each !== undefined);
}

/**
 * `undefined` if it gets no connections: those are for endpoints whose `conditions.ready` is true or not set, and for those that still
 * serve while they terminate, because kube-proxy uses these if no other is ready (KEP-1672, KEP-1669). `serving` without a value is as
 * `ready`. Of several addresses the first counts (discovery.k8s.io/v1).
 */
function projectEndpoint(wire: Json, once: Once): Endpoint | undefined {
  const { nodeName, addresses, conditions, hints } = fieldsOf(wire);
  const { ready, serving } = fieldsOf(conditions);
  const isReady = ready !== false;
  if (!isReady && serving !== true) return undefined;
  const endpoint = { node: textOf(nodeName) as NodeName, address: textsOf(addresses)[0] ?? '', isReady };
  const zones = listOf(fieldsOf(hints)['forZones']).map((zone) => textOf(fieldsOf(zone)['name']));
  return zones.length === 0 ? endpoint : { ...endpoint, zones: once(zones) };
}

function countByNode(family: Family, endpoints: readonly Endpoint[]): readonly NodeEndpoints[] {
  const seen = new Set<string>();
  const local = endpoints.filter(({ node, address }) => {
    const id = `${node} ${address}`;
    if (node === '' || seen.has(id) || impossibleEndpoint(family, address) !== undefined) return false;
    seen.add(id);
    return true;
  });
  return sumOfEndpoints(
    local.map(({ node, isReady }) => ({
      node: node as NodeName,
      ready: isReady ? 1 : 0,
      terminating: isReady ? 0 : 1,
    })),
  );
}

/** `undefined` if it has no number. */
function projectPort(wire: Json): EndpointGroup['ports'][number] | undefined {
  const { name, protocol, port } = fieldsOf(wire);
  const number = integerOf(port);
  if (number === 0) return undefined;
  const known: Protocol = protocol === 'UDP' || protocol === 'SCTP' ? protocol : 'TCP';
  return { name: textOf(name), protocol: known, port: number };
}

function familyOf(addressType: Json): Family | undefined {
  return addressType === 'IPv4' ? 4 : addressType === 'IPv6' ? 6 : undefined;
}
