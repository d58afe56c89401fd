import path from 'node:path';
import { stringify } from 'yaml';
import { imageNames } from '../images/images.ts';
import { dnsServiceIp, podRanges } from '../network/address-plan.ts';
import type { Host } from '../network/host.ts';

/** The folder of a node's containers: on the disk itself, because overlays cannot be nested. */
export function nodeFolders(host: Host): Readonly<Record<'containers' | 'state' | 'cni' | 'kubelet' | 'logs', string>> {
  const sub = (name: string): string => path.join(host.folder, name);
  return {
    containers: sub('containerd'),
    state: sub('containerd-state'),
    cni: sub('cni'),
    kubelet: sub('kubelet'),
    logs: sub('pods'),
  };
}

/** containerd 2, config version 3. Without the two lines for oom and apparmor no Pod starts on a confined machine. */
export function containerdConfig(host: Host): string {
  const { containers, state, cni } = nodeFolders(host);
  return `version = 3
root = "${containers}"
state = "${state}"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "${imageNames.pause}"

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "${cni}"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = false
`;
}

export function kubeletConfig(host: Host): string {
  const { kubelet, logs } = nodeFolders(host);
  return stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: '0.0.0.0',
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    podLogsDir: logs,
    volumePluginDir: path.join(kubelet, 'volume-plugins'),
    clusterDomain: 'cluster.local',
    clusterDNS: [dnsServiceIp],
    resolvConf: '',
    registerWithTaints: [],
    evictionHard: { 'memory.available': '1Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
    imageGCHighThresholdPercent: 100,
    protectKernelDefaults: false,
    // Several kubelets share one machine, which may be confined and may still have cgroup v1.
    cgroupsPerQOS: false,
    enforceNodeAllocatable: [],
    failCgroupV1: false,
    failSwapOn: false,
    oomScoreAdj: 0,
    localStorageCapacityIsolation: false,
  });
}

export function kubeProxyConfig(host: Host, kubeconfig: string): string {
  return stringify({
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'nftables',
    hostnameOverride: host.name,
    clientConnection: { kubeconfig },
    clusterCIDR: podRanges.join(','),
    healthzBindAddress: '0.0.0.0:10256',
    metricsBindAddress: '127.0.0.1:10249',
    // A node must not set the machine's conntrack limits.
    conntrack: { maxPerCore: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
  });
}

/** The Pod network of a node: a bridge with the ranges that the cluster assigned to the node. */
export function cniConfig(podCidrs: readonly string[]): string {
  const ipam = {
    type: 'host-local',
    ranges: podCidrs.map((subnet) => [{ subnet }]),
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  };
  const bridge = { type: 'bridge', bridge: 'cni0', isGateway: true, ipMasq: false, hairpinMode: true, ipam };
  const ports = { type: 'portmap', capabilities: { portMappings: true } };
  return JSON.stringify({ cniVersion: '1.0.0', name: 'lab', plugins: [bridge, ports] }, null, 2);
}

/** Packets to other networks get the node's address, because other machines have no route to a Pod. */
export function masqueradeRules(podCidrs: readonly string[]): string {
  const rules = podCidrs.map((range) => {
    const [family, all] = range.includes(':') ? ['ip6', podRanges[1]] : ['ip', podRanges[0]];
    return `    ${family} saddr ${range} ${family} daddr != ${all} masquerade`;
  });
  return `table inet lab {
  chain postrouting {
    type nat hook postrouting priority srcnat + 10
${rules.join('\n')}
  }
}
`;
}
