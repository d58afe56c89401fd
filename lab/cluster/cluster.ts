import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { together } from '../machine/together.ts';
import { until } from '../machine/until.ts';
import type { HostPlan } from '../network/address-plan.ts';
import type { OwnHost } from '../network/host.ts';
import { wire } from '../network/wiring.ts';
import { apiServerReady, startApiServer, startControllers } from './control-plane.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { configurePodNetwork, importImages, startContainerd, startKubelet } from './node.ts';
import { type NodeState, readNodes } from './nodes-api.ts';
import { accountsFor, makePki } from './pki.ts';

export type ClusterDeps = {
  readonly lab: string;
  readonly folder: string;
  readonly plans: readonly HostPlan[];
  readonly hosts: readonly OwnHost[];
  /** Image archives for every node. */
  readonly images: readonly string[];
  readonly apiServerFlags: readonly string[];
  /** Whether the nodes have addresses of both families in the cluster, or only of IPv4. */
  readonly hasDualStackNodes: boolean;
  /** Gets the name of each wait. */
  readonly tell: (what: string) => void;
  /** Ends everything below; the first failure aborts it, so that no part keeps running after a rejection. */
  readonly stop: AbortController;
};

/**
 * Starts network, machines and Kubernetes; resolves when all nodes are Ready and have their images.
 *
 * ```
 * network ─► hosts ─┬─► etcd, API server ─┬─► controllers, kubelets ─► Pod ranges ─► Ready ─┬─► DNS
 * keys ─────────────┘   containerd ───────┴─► images ───────────────────────────────────────┘
 * ```
 */
export async function startCluster(deps: ClusterDeps): Promise<void> {
  const { folder, hosts, tell, stop } = deps;
  const { signal } = stop;
  const nodes = hosts.filter((host) => host.role === 'node');
  const cp = controlPlaneOf(hosts);
  const onNodes = (task: (node: OwnHost) => Promise<void>): Promise<unknown> => together(stop, nodes.map(task));
  tell('network and hosts');
  const token = await startHosts(deps, cp, nodes);

  tell('API server');
  const runtimes = onNodes((node) => startContainerd(node, signal));
  const images = runtimes.then(() => onNodes((node) => importImages(node, deps.images, signal)));
  const nodesReady = async (): Promise<void> => {
    await startApiServer(cp, folder, deps.apiServerFlags);
    await apiServerReady(cp, folder, signal);
    await runtimes;
    tell('nodes');
    await together<unknown>(stop, [
      startControllers(cp, folder),
      onNodes((node) => startKubelet(node, folder, deps.hasDualStackNodes)),
    ]);
    const look = (): Promise<ReadonlyMap<string, NodeState>> => readNodes(cp, folder, token, signal);
    await connectPods(deps, nodes, look);
    const areReady = async (): Promise<boolean> => {
      const states = await look();
      return nodes.every((node) => states.get(node.name)?.isReady);
    };
    await until('all nodes to be Ready', areReady, { signal, timeoutMs: 120_000, everyMs: 100 });
    tell('images');
  };
  await together<unknown>(stop, [images, nodesReady()]);

  const dns = await readFile(path.join(import.meta.dirname, 'coredns.yaml'), 'utf8');
  await cp.exec(['kubectl', 'apply', '--filename', '-'], { stdin: dns, signal });
}

/** Creates network, machines, keys and kubeconfigs; returns the administrator's token. */
async function startHosts(deps: ClusterDeps, cp: OwnHost, nodes: readonly OwnHost[]): Promise<string> {
  const { lab, folder, plans, hosts, stop } = deps;
  const accounts = accountsFor(nodes.map((node) => node.name));
  const machines = async (): Promise<void> => {
    await wire(lab, plans, stop);
    await together(
      stop,
      hosts.map((host) => host.boot()),
    );
  };
  await together(stop, [machines(), makePki(folder, accounts.values(), cp.ip4, stop.signal)]);
  await mkdir(path.join(folder, 'kubeconfig'));
  await Promise.all([...accounts].map(([name, { token }]) => writeKubeconfig(folder, name, token)));
  return accounts.get('admin')?.token ?? '';
}

type Route = readonly [range: string, gateway: string];

/**
 * Waits for the Pod ranges that the cluster assigns to each node; creates the node's Pod network and the routes to it.
 */
async function connectPods(
  { hosts, stop }: ClusterDeps,
  nodes: readonly OwnHost[],
  look: () => Promise<ReadonlyMap<string, NodeState>>,
): Promise<void> {
  const { signal } = stop;
  const connect = async (node: OwnHost): Promise<readonly Route[]> => {
    const ranges = async (): Promise<readonly string[] | undefined> => (await look()).get(node.name)?.podCidrs;
    const podCidrs = await until(`Pod ranges of ${node.name}`, ranges, { signal, timeoutMs: 120_000, everyMs: 100 });
    await configurePodNetwork(node, podCidrs, signal);
    return podCidrs.map((range) => [range, range.includes(':') ? node.ip6 : node.ip4]);
  };
  const routes = (await together(stop, nodes.map(connect))).flat();
  const cluster = hosts.filter((host) => host.role !== 'client'); // a client has no route to Pods
  await together(
    stop,
    cluster.map((host) => host.addRoutes(routesFor(host, routes))),
  );
}

/** A node reaches its own Pods over its bridge, and all others through their nodes. */
function routesFor(host: OwnHost, routes: readonly Route[]): ReadonlyMap<string, string> {
  return new Map(routes.filter(([, gateway]) => gateway !== host.ip4 && gateway !== host.ip6));
}

function controlPlaneOf(hosts: readonly OwnHost[]): OwnHost {
  const found = hosts.find((host) => host.role === 'control-plane');
  if (found === undefined) throw new TypeError('a lab has a control plane');
  return found;
}
