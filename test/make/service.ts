import type { AssignedAddress } from '../../src/core/addresses/assignment.ts';
import { makePools, type Pool } from '../../src/core/addresses/pool.ts';
import type { HostFacts } from '../../src/core/model/host.ts';
import { ourFinalizers } from '../../src/core/model/contract.ts';
import { type NodeName, type ServiceKey, serviceKey, type ServiceUid } from '../../src/core/model/names.ts';
import type { Node } from '../../src/core/model/node.ts';
import type { Service, ServicePort, ServiceSpec, ServiceStatus } from '../../src/core/model/service.ts';
import type { Site } from '../../src/core/model/site.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import { parseIp } from '../../src/core/ip/ip.ts';
import { type IpRange, mergeRanges, parseRange } from '../../src/core/ip/range.ts';

/** Objects for tests: a plain served one, with the overrides of a test. */
export function makeService(
  name: string,
  spec: Partial<ServiceSpec> = {},
  rest: Partial<Omit<Service, 'spec' | 'status'>> & { status?: Partial<ServiceStatus> } = {},
): Service {
  const { status, ...metadata } = rest;
  return {
    key: serviceKey('default', name),
    namespace: 'default',
    name,
    uid: `uid-${name}` as ServiceUid,
    createdAtMs: 0,
    isDeleting: false,
    finalizers: ourFinalizers,
    ...metadata,
    spec: {
      type: 'LoadBalancer',
      loadBalancerClass: undefined,
      wantsNone: false,
      ipFamilies: [4],
      requireDualStack: false,
      ports: [tcp(80)],
      loadBalancerIp: undefined,
      addressAnnotations: [],
      poolAnnotations: [],
      sharingKey: undefined,
      dataplane: undefined,
      options: [],
      backends: undefined,
      ignoredAnnotations: [],
      sourceRanges: [],
      sessionAffinity: 'None',
      affinitySeconds: 10_800,
      externalTrafficPolicy: 'Cluster',
      healthCheckNodePort: 0,
      ...spec,
    },
    status: { ingress: [], conditions: [], ingressManager: undefined, ...status },
  };
}

/** An address of a Service, to be added to the host, with these ports. */
export function assignedAddress(text: string, served: readonly ServicePort[] = []): AssignedAddress {
  return { ip: ip(text), isHostAddress: false, served, unserved: [] };
}

/** As in a store. */
export function byKey(services: readonly Service[]): PersistentMap<ServiceKey, Service> {
  return PersistentMap.from(services.map((service) => [service.key, service]));
}

export function tcp(port: number, nodePort: number = 30_000 + (port % 2_767)): ServicePort {
  return { name: `p${port}`, protocol: 'TCP', port, nodePort };
}

export function udp(port: number, nodePort: number = 30_000 + (port % 2_767)): ServicePort {
  return { ...tcp(port, nodePort), protocol: 'UDP' };
}

export function makeNode(name: string, ...addresses: readonly string[]): Node {
  const ips = addresses.map(ip);
  return {
    name: name as NodeName,
    createdAtMs: 0,
    addresses: ips,
    allAddresses: ips,
    podCidrs: [],
    bootId: undefined,
    excluded: undefined,
    isReady: true,
  };
}

export function makeSite(addresses: readonly string[], rest: Partial<Site> = {}): Site {
  return {
    loadBalancerClass: 'furiwake.dev/haproxy',
    takesDefaultClass: true,
    namespaces: undefined,
    ranges: ranges(...addresses),
    reservedPorts: new Set([22]),
    defaults: [],
    handsOutOwn: false,
    movesServices: false,
    zone: undefined,
    ...rest,
  };
}

export function makeHostFacts(rest: Partial<HostFacts> = {}): HostFacts {
  return {
    ownAddresses: [],
    primaryAddresses: [],
    listening: [],
    listeningTrouble: undefined,
    needs: new Map(),
    ...rest,
  };
}

/** The pool of a site, in a cluster of these nodes. */
export function poolOf(site: Site, host: HostFacts = makeHostFacts(), nodes: readonly Node[] = []): Pool {
  return makePools()({ site, host, nodes: new Map(nodes.map((node) => [node.name, node])) });
}

export function ip(text: string): NonNullable<ReturnType<typeof parseIp>> {
  const parsed = parseIp(text);
  if (parsed === undefined) throw new Error(`${text} is not an address`);
  return parsed;
}

export function ranges(...texts: readonly string[]): readonly IpRange[] {
  return mergeRanges(
    texts.map((text) => {
      const range = parseRange(text);
      if (range === undefined) throw new Error(`${text} is not a range`);
      return range;
    }),
  );
}
