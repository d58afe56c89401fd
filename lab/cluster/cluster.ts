import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { until } from '../machine/until.ts';
import type { HostPlan } from '../network/address-plan.ts';
import type { OwnHost } from '../network/host.ts';
import { wire } from '../network/wiring.ts';
import { apiServerReady, startApiServer, startControllers } from './control-plane.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { configurePodNetwork, importImages, startContainerd, startKubelet } from './node.ts';
import { readNodes } from './nodes-api.ts';
import { accountsFor, makePki } from './pki.ts';

export type ClusterDeps = {
  readonly lab: string;
  readonly folder: string;
  readonly plans: readonly HostPlan[];
  readonly hosts: readonly OwnHost[];
  /** Image archives that every node is given. */
  readonly images: readonly string[];
  readonly apiServerFlags: readonly string[];
  /** Is told what is waited for. */
  readonly tell: (what: string) => void;
  readonly signal: AbortSignal;
};

/**
 * Brings up network, machines and Kubernetes; resolves when all nodes are Ready and have their images.
 *
 * ```
 * network ─► hosts ─┬─► etcd, API server ─► controllers, kubelets ─► Pod ranges ─► Ready ─► DNS
 * keys ─────────────┘   containerd ─► images ───────────────────────────────────────────┘
 * ```
 */
export async function startCluster(deps: ClusterDeps): Promise<void> {
  const { lab, folder, hosts, plans, tell, signal } = deps;
  const nodes = hosts.filter((host) => host.role === 'node');
  const cp = hosts.find((host) => host.role === 'control-plane');
  if (cp === undefined) throw new TypeError('a lab has a control plane');
  const accounts = accountsFor(nodes.map((node) => node.name));
  const admin = accounts.get('admin')?.token ?? '';

  tell('network and hosts');
  const network = wire(lab, plans, signal).then(() => Promise.all(hosts.map((host) => host.boot())));
  await Promise.all([network, makePki(folder, accounts.values(), cp.ip4, signal)]);
  await mkdir(path.join(folder, 'kubeconfig'));
  await Promise.all([...accounts].map(([name, { token }]) => writeKubeconfig(folder, name, token)));

  tell('API server');
  await startApiServer(cp, folder, deps.apiServerFlags);
  const withImages = Promise.all(
    nodes.map(async (node) => {
      await startContainerd(node, signal);
      await importImages(node, deps.images, signal);
    }),
  );
  withImages.catch(() => undefined); // awaited below
  await apiServerReady(cp, folder, signal);

  tell('nodes');
  await Promise.all([startControllers(cp, folder), ...nodes.map((node) => startKubelet(node, folder))]);
  const look = (): ReturnType<typeof readNodes> => readNodes(cp, folder, admin, signal);
  const routes = new Map<string, string>();
  await Promise.all(
    nodes.map(async (node) => {
      const ranges = async (): Promise<readonly string[] | false> => {
        const podCidrs = (await look()).get(node.name)?.podCidrs ?? [];
        return podCidrs.length === 2 && podCidrs;
      };
      const podCidrs = await until(`Pod ranges of ${node.name}`, ranges, { signal, timeoutMs: 60_000, everyMs: 100 });
      for (const range of podCidrs) routes.set(range, range.includes(':') ? node.ip6 : node.ip4);
      await configurePodNetwork(node, podCidrs, signal);
    }),
  );
  await Promise.all(
    hosts.filter((host) => host.role !== 'client').map((host) => host.addRoutes(routesFor(host, routes))),
  );

  tell('nodes to be Ready');
  const areReady = async (): Promise<boolean> => {
    const states = await look();
    return nodes.every((node) => states.get(node.name)?.isReady);
  };
  await until('all nodes to be Ready', areReady, { signal, timeoutMs: 60_000, everyMs: 100 });
  tell('images');
  await withImages;
  const dns = await readFile(path.join(import.meta.dirname, 'coredns.yaml'), 'utf8');
  await cp.exec(['kubectl', 'apply', '--filename', '-'], { stdin: dns, signal });
}

/** A node reaches its own Pods over its bridge, all others' over their nodes. */
function routesFor(host: OwnHost, routes: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  return new Map([...routes].filter(([, gateway]) => gateway !== host.ip4 && gateway !== host.ip6));
}
