import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { until } from '../machine/until.ts';
import type { Host } from '../network/host.ts';
import { kubeconfigPath } from './kubeconfig.ts';
import {
  cniConfig,
  containerdConfig,
  kubeProxyConfig,
  kubeletConfig,
  masqueradeRules,
  nodeFolders,
} from './node-config.ts';

/** Starts a node's containerd; resolves when it answers. Needs no API server. */
export async function startContainerd(host: Host, signal: AbortSignal): Promise<void> {
  const folders = Object.values(nodeFolders(host));
  await Promise.all(folders.map((folder) => mkdir(folder, { recursive: true })));
  const config = path.join(host.folder, 'containerd.toml');
  await writeFile(config, containerdConfig(host));
  await host.spawn('containerd', ['containerd', '--config', config]);
  const ask = (): Promise<unknown> => host.exec(['ctr', 'version'], { signal, timeoutMs: 5_000 });
  await until(`containerd on ${host.name}`, async () => (await ask()) !== undefined, { signal });
}

/** Imports the images in `files` (docker-archives) into a node's containerd. */
export async function importImages(host: Host, files: Iterable<string>, signal: AbortSignal): Promise<void> {
  for (const file of files)
    await host.exec(['ctr', '--namespace', 'k8s.io', 'images', 'import', file], { signal, timeoutMs: 120_000 });
}

/** Starts a node's kubelet and kube-proxy. The node gets its Pod ranges as soon as it is registered. */
export async function startKubelet(host: Host, folder: string, isDualStack: boolean): Promise<void> {
  const kubelet = path.join(host.folder, 'kubelet.yaml');
  const proxy = path.join(host.folder, 'kube-proxy.yaml');
  await Promise.all([
    writeFile(kubelet, kubeletConfig(host)),
    writeFile(proxy, kubeProxyConfig(host, kubeconfigPath(folder, 'proxy'))),
  ]);
  await Promise.all([
    host.spawn('kubelet', [
      'kubelet',
      `--config=${kubelet}`,
      `--kubeconfig=${kubeconfigPath(folder, host.name)}`,
      `--root-dir=${nodeFolders(host).kubelet}`,
      `--hostname-override=${host.name}`,
      `--node-ip=${isDualStack ? `${host.ip4},${host.ip6}` : host.ip4}`,
    ]),
    host.spawn('kube-proxy', ['kube-proxy', `--config=${proxy}`]),
  ]);
}

/** Creates the Pod network of a node from the ranges that the cluster assigned to it. */
export async function configurePodNetwork(host: Host, podCidrs: readonly string[], signal: AbortSignal): Promise<void> {
  await host.exec(['nft', '--file', '-'], { signal, stdin: masqueradeRules(podCidrs) });
  const file = path.join(nodeFolders(host).cni, '10-lab.conflist'); // containerd waits for it
  await writeFile(`${file}.new`, cniConfig(podCidrs));
  await rename(`${file}.new`, file);
}
