import { type ChaosLab, podOf } from './lab.ts';
import { quietly } from './fault.ts';
import type { Node } from '../net-lab.ts';
import type { SimApiServer } from '../../sim/apiserver.ts';
import type { Fields, SimObject } from '../../sim/kinds.ts';
import { shownStatus } from '../../sim/shown-status.ts';

export type Protocol = 'TCP' | 'UDP';
export type Port = { readonly port: number; readonly protocol: Protocol; readonly nodePort: number };

/** A Service as its users want it. */
export type Wish = {
  readonly ports: readonly Port[];
  readonly dataplane?: 'haproxy' | 'nat' | 'direct' | undefined;
  readonly isLocal?: boolean;
  readonly ranges?: readonly string[];
  readonly families?: readonly ('IPv4' | 'IPv6')[];
  readonly request?: string | undefined;
  readonly isClusterIp?: boolean;
  readonly hasAffinity?: boolean;
  /** It has no NodePorts. */
  readonly isWithoutNodePorts?: boolean;
  /** Annotations with which it is served. */
  readonly options?: Readonly<Record<string, string>>;
  /** Annotations with which it may be served or not. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** The nodes with endpoints. */
  readonly endpoints: readonly string[];
};

export const serviceNames = ['s0', 's1', 's2', 's3', 's4', 's5'] as const;
const nodePortsEach = 6;
const healthCheckBase = 32_000;
const kubeProxyPort = 10_256;

/** Only this Service has this nodePort. */
export const nodePortOf = (name: string, index: number): number =>
  30_000 + serviceNames.indexOf(name as 's0') * nodePortsEach + (index % nodePortsEach);

const keyOf = (name: string): string => `default/${name}`;

/** The users of the cluster, and what runs on its nodes: servers and kube-proxy. */
export type ChaosCluster = AsyncDisposable & {
  /** What users want now. */
  readonly wishes: ReadonlyMap<string, Wish>;
  /** Services that are drained on all hosts. */
  readonly drained: Set<string>;
  set(name: string, wish: Wish): void;
  remove(name: string): void;
  putNode(node: Node, labels?: Readonly<Record<string, string>>): void;
  /** Writes all wishes again, after etcd was restored. */
  restore(): void;
};

export async function startCluster(lab: ChaosLab, server: SimApiServer): Promise<ChaosCluster> {
  const wishes = new Map<string, Wish>();
  server.put('Namespace', { metadata: { name: 'furiwake-system' } });
  server.put('Namespace', { metadata: { name: 'default' } });
  for (const node of lab.nodes)
    for (const name of serviceNames) {
      for (let index = 0; index < nodePortsEach; index++) {
        await node.ask({ do: 'serveLines', port: nodePortOf(name, index), greeting: `${name} ${node.name}\n` });
        await node.ask({ do: 'serveUdp', port: nodePortOf(name, index), body: `${name} ${node.name}` });
      }
      const port = healthCheckBase + serviceNames.indexOf(name);
      await node.ask({ do: 'serveHttp', port, body: '{}', status: 503 });
    }
  const putNode: ChaosCluster['putNode'] = ({ name, ip4, ip6 }, labels = {}) =>
    void server.put('Node', {
      metadata: { name, labels },
      spec: { podCIDRs: [] },
      status: {
        addresses: [ip4, ip6].map((address) => ({ type: 'InternalIP', address })),
        nodeInfo: { bootID: `boot-${name}` },
      },
    });
  for (const node of lab.nodes) putNode(node);

  const put = (name: string, wish: Wish): void => {
    const old = server.get('Service', keyOf(name));
    server.put('Service', serviceOf(name, wish, old));
    for (const family of ['IPv4', 'IPv6'] as const) server.put('EndpointSlice', sliceOf(name, wish, family, lab.nodes));
  };
  const stop = new AbortController();
  const proxies = lab.nodes.map((node) => keepKubeProxy(node, server, wishes, stop.signal));
  return {
    wishes,
    drained: new Set(),
    set: (name, wish) => {
      wishes.set(name, wish);
      put(name, wish);
    },
    remove: (name) => {
      wishes.delete(name);
      if (server.get('Service', keyOf(name)) !== undefined) server.remove('Service', keyOf(name));
      for (const family of ['IPv4', 'IPv6'])
        if (server.get('EndpointSlice', `default/${name}-${family.toLowerCase()}`) !== undefined)
          server.remove('EndpointSlice', `default/${name}-${family.toLowerCase()}`);
    },
    putNode,
    restore: () => {
      for (const name of serviceNames) {
        const wish = wishes.get(name);
        const isThere = server.get('Service', keyOf(name))?.metadata.deletionTimestamp === undefined;
        if (wish !== undefined && isThere) put(name, wish);
        else if (wish === undefined && server.get('Service', keyOf(name)) !== undefined)
          server.remove('Service', keyOf(name));
      }
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await Promise.all(proxies);
    },
  };
}

function serviceOf(name: string, wish: Wish, old: SimObject | undefined): SimObject {
  const annotations = {
    ...(wish.dataplane === undefined ? {} : { 'furiwake.dev/dataplane': wish.dataplane }),
    ...(wish.request === undefined ? {} : { 'furiwake.dev/addresses': wish.request }),
    ...wish.options,
    ...wish.annotations,
  };
  const { isLocal = false, ranges = [], families = ['IPv4'], isClusterIp = false } = wish;
  const spec: Fields = {
    type: isClusterIp ? 'ClusterIP' : 'LoadBalancer',
    ipFamilies: families,
    ipFamilyPolicy: families.length > 1 ? 'RequireDualStack' : 'SingleStack',
    ...(wish.hasAffinity === true ? { sessionAffinity: 'ClientIP' } : {}),
    ...(wish.isWithoutNodePorts === true ? { allocateLoadBalancerNodePorts: false } : {}),
    ports: wish.ports.map(({ nodePort, ...port }) => ({
      ...port,
      ...(wish.isWithoutNodePorts === true ? {} : { nodePort }),
      name: `${port.protocol.toLowerCase()}-${port.port}`,
    })),
    externalTrafficPolicy: isLocal ? 'Local' : 'Cluster',
    ...(isLocal ? { healthCheckNodePort: healthCheckBase + serviceNames.indexOf(name as 's0') } : {}),
    ...(ranges.length > 0 ? { loadBalancerSourceRanges: ranges } : {}),
  };
  return {
    ...old,
    // As the API server does.
    ...(isClusterIp && old !== undefined ? { status: { ...old.status, loadBalancer: {} } } : {}),
    metadata: { ...old?.metadata, name, namespace: 'default', annotations },
    spec,
  };
}

function sliceOf(name: string, wish: Wish, family: 'IPv4' | 'IPv6', nodes: readonly Node[]): SimObject {
  return {
    metadata: {
      name: `${name}-${family.toLowerCase()}`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: family,
    // The servers of a node listen on the address of its Pods, too.
    ports: wish.ports.map(({ port, protocol, nodePort }) => ({
      name: `${protocol.toLowerCase()}-${port}`,
      port: nodePort,
      protocol,
    })),
    endpoints: nodes.flatMap(({ name: nodeName }, index) =>
      wish.endpoints.includes(nodeName)
        ? [{ addresses: [podOf(index, family)], nodeName, conditions: { ready: true } }]
        : [],
    ),
  };
}

/** Syncs as kube-proxy does: NodePorts without endpoints refuse, addresses with `ipMode: VIP` are translated. */
async function keepKubeProxy(
  node: Node,
  server: SimApiServer,
  wishes: ReadonlyMap<string, Wish>,
  signal: AbortSignal,
): Promise<void> {
  let last = '';
  let translated = new Map<string, Translation>();
  while (!signal.aborted) {
    const { text, translations } = rulesOf(node, server, wishes);
    if (text !== last && !server.faults.isDown) {
      await node.nft(text);
      last = text;
      await endFlows(
        node,
        [...translated].filter(([rule]) => !translations.has(rule)).map(([, former]) => former),
      );
      translated = translations;
      for (const [index, name] of serviceNames.entries()) {
        const isLocal = wishes.get(name)?.isLocal === true && wishes.get(name)?.endpoints.includes(node.name) === true;
        await node.ask({ do: 'setStatus', port: healthCheckBase + index, status: isLocal ? 200 : 503 });
      }
      await node.ask({ do: 'reportSync', port: kubeProxyPort, syncedMs: Date.now() });
      await pause(900, signal);
    }
    await pause(100, signal);
  }
}

type Translation = { readonly ip: string; readonly port: number; readonly protocol: Protocol };

/** As kube-proxy does, for UDP alone: the next packet of such a flow goes to an endpoint of today. */
async function endFlows(node: Node, gone: readonly Translation[]): Promise<void> {
  for (const { ip, port, protocol } of gone)
    if (protocol === 'UDP')
      await quietly(
        node.exec(
          'conntrack',
          '-D',
          '-f',
          ip.includes(':') ? 'ipv6' : 'ipv4',
          '-p',
          'udp',
          '-d',
          ip,
          '--dport',
          `${port}`,
        ),
      );
}

type Rules = { readonly text: string; readonly translations: Map<string, Translation> };

function rulesOf(node: Node, server: SimApiServer, wishes: ReadonlyMap<string, Wish>): Rules {
  const translations = new Map<string, Translation>();
  const refusals: string[] = [];
  for (const [name, { ports, endpoints, isLocal = false }] of wishes) {
    const isServed = isLocal ? endpoints.includes(node.name) : endpoints.length > 0;
    for (const { port, protocol, nodePort } of ports) {
      const l4 = protocol.toLowerCase();
      if (!isServed) refusals.push(`${l4} dport ${nodePort} ${isLocal ? 'drop' : 'reject'}`);
      for (const { ip, ipMode } of shownStatus(server, keyOf(name)).loadBalancer?.ingress ?? []) {
        if (ipMode !== 'VIP') continue;
        const rule = ip.includes(':')
          ? `ip6 daddr ${ip} ${l4} dport ${port} dnat ip6 to [${node.ip6}]:${nodePort}`
          : `ip daddr ${ip} ${l4} dport ${port} dnat ip to ${node.ip4}:${nodePort}`;
        translations.set(rule, { ip, port, protocol });
      }
    }
  }
  const text = `table inet kube-proxy
delete table inet kube-proxy
table inet kube-proxy {
  chain nat {
    type nat hook prerouting priority dstnat
    ${[...translations.keys()].join('\n    ')}
  }
  chain in {
    type filter hook input priority filter
    ${refusals.join('\n    ')}
  }
}`;
  return { text, translations };
}

/** Ends early, and without an error, when `signal` aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
