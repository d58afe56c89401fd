import type { Lab } from '../lab/lab.ts';
import { type Cluster, namespace } from './cluster.ts';
import type { Put } from './hosts/put-object.ts';

/** The echo Pods, by node. */
export type EchoPods = ReadonlyMap<string, { readonly name: string; readonly address: string }>;

export async function readEchoPods(lab: Lab): Promise<EchoPods> {
  type Pod = { metadata: { name: string }; spec: { nodeName: string }; status: { podIP: string } };
  const listed = await lab.kubectl('get', 'pods', '--namespace', namespace, '--selector', 'app=echo', '-o', 'json');
  const { items } = JSON.parse(listed) as { items: readonly Pod[] };
  return new Map(
    items.map(({ metadata, spec, status }) => [spec.nodeName, { name: metadata.name, address: status.podIP }]),
  );
}

export type EchoService = {
  readonly name: string;
  readonly address: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
};

/** A Service at port 80 whose endpoints are written by hand: the Pods of these nodes. They can be replaced. */
export async function createByHand(
  lab: Lab,
  { name, address, annotations, spec }: EchoService,
  pods: EchoPods,
): Promise<void> {
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, annotations: { ...annotations, 'furiwake.dev/addresses': address } },
    spec: { type: 'LoadBalancer', ports: [{ port: 80, targetPort: 8080 }], ...spec },
  };
  await lab.apply(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [service, sliceOf(name, pods)] }));
}

/** Replaces the endpoints of a Service. */
export async function replaceEndpoints({ lab, ask }: Cluster, service: string, pods: EchoPods): Promise<Put> {
  const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices/${service}`;
  return (await ask('cp', 'put-object.ts', [lab.kubeconfig(), path, JSON.stringify(sliceOf(service, pods))])) as Put;
}

function sliceOf(service: string, pods: EchoPods): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: service, namespace, labels: { 'kubernetes.io/service-name': service } },
    addressType: 'IPv4',
    ports: [{ port: 8080 }],
    endpoints: Array.from(pods, ([nodeName, { address }]) => ({
      addresses: [address],
      nodeName,
      conditions: { ready: true },
    })),
  };
}
