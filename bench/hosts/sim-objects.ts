import type { SimObject } from '../../test/sim/kinds.ts';

/** What each of the Services has beside the usual fields. */
export type Features = {
  readonly annotations?: Readonly<Record<string, string>>;
  /** The Services request these in turns. */
  readonly dataplanes?: readonly string[];
  readonly spec?: Readonly<Record<string, unknown>>;
  /** How many of the nodes have an endpoint of each Service, at first. */
  readonly endpoints?: number;
};

/** With the fields and the size of a typical Service. The port of `externalTrafficPolicy: Local` is 20,000 above its nodePort. */
export function makeService(name: string, port: number, nodePort: number, { annotations, spec }: Features): SimObject {
  return {
    metadata: {
      name,
      namespace: 'default',
      labels: {
        'app.kubernetes.io/name': name,
        'app.kubernetes.io/managed-by': 'Helm',
        'helm.sh/chart': `${name}-1.2.3`,
      },
      annotations: {
        'meta.helm.sh/release-name': name,
        'meta.helm.sh/release-namespace': 'default',
        ...annotations,
      },
    },
    spec: {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.1',
      clusterIPs: ['10.96.0.1'],
      selector: { 'app.kubernetes.io/name': name, 'app.kubernetes.io/instance': name },
      ports: [{ name: 'http', port, targetPort: 'http', nodePort }],
      ...(spec?.['externalTrafficPolicy'] === 'Local' ? { healthCheckNodePort: nodePort + 20_000 } : {}),
      ...spec,
    },
  };
}

/** The endpoints of a Service are at the addresses of its nodes, as of Pods on their host's network, and at its nodePort. */
export function makeSlice(service: string, nodePort: number, nodes: readonly SimObject[]): SimObject {
  return {
    metadata: {
      name: `${service}-1`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': service },
    },
    addressType: 'IPv4',
    endpoints: nodes.map((node) => ({
      addresses: [addressOf(node)],
      nodeName: node.metadata.name,
      conditions: { ready: true, serving: true, terminating: false },
    })),
    ports: [{ name: 'http', protocol: 'TCP', port: nodePort }],
  };
}

/** With as many images as a kubelet reports, because they are most of a Node's size. */
export function makeNode(name: string, address: string): SimObject {
  const images = Array.from({ length: 50 }, (_, index) => ({
    names: [`registry.example/team/image-${index}@sha256:${'0123456789abcdef'.repeat(4)}`],
    sizeBytes: 100_000_000 + index,
  }));
  const addresses = [
    { type: 'InternalIP', address },
    { type: 'Hostname', address: name },
  ];
  return { metadata: { name, labels: { 'kubernetes.io/hostname': name } }, spec: {}, status: { addresses, images } };
}

function addressOf(node: SimObject): string {
  const [first] = (node.status?.['addresses'] ?? []) as { address: string }[];
  return first?.address ?? '';
}
