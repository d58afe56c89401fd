import path from 'node:path';

/** A program of the lab: what the compiler of its recipe makes of `source`. */
export type Binary = { readonly name: string; readonly source: string };

/** Programs that are built from one pinned set of sources. */
export type Recipe = {
  readonly name: string;
  readonly version: string;
  /** Contains go.mod and go.sum, or the C source. */
  readonly folder: string;
  readonly binaries: readonly Binary[];
  /** The compiler and its arguments, except output and source. */
  readonly compiler: readonly string[];
};

const kubernetes = '1.37.2';
const [major, minor] = kubernetes.split('.');
const versionVariable = 'k8s.io/component-base/version';

/** Without its version the API server reports `v0.0.0`, and clients fail. */
const kubernetesVersion = [`gitVersion=v${kubernetes}`, `gitMajor=${major}`, `gitMinor=${minor}`, 'gitTreeState=clean']
  .map((setting) => `-X ${versionVariable}.${setting}`)
  .join(' ');

const containerd = 'github.com/containerd/containerd/v2/cmd';

/** All programs of the lab that Debian does not have, in build order. */
export const recipes: readonly Recipe[] = [
  {
    name: 'pause',
    version: '1',
    folder: path.join(import.meta.dirname, '..', 'images'),
    compiler: ['cc', '-O2', '-static'],
    binaries: [{ name: 'pause', source: 'pause.c' }],
  },
  go('etcd', '3.7.3', [], [{ name: 'etcd', source: 'go.etcd.io/etcd/server/v3' }]),
  go(
    'containerd',
    '2.4.2',
    ['-tags', 'no_btrfs,no_devmapper,no_zfs'],
    ['containerd', 'containerd-shim-runc-v2', 'ctr'].map((name) => ({ name, source: `${containerd}/${name}` })),
  ),
  go('coredns', '1.15.0', [], [{ name: 'coredns', source: 'github.com/coredns/coredns' }]),
  go(
    'kubernetes',
    kubernetes,
    ['-ldflags', `-s -w ${kubernetesVersion}`],
    [
      ...['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy', 'kubelet', 'kubectl'].map(
        (name) => ({ name, source: `k8s.io/kubernetes/cmd/${name}` }),
      ),
      { name: 'agnhost', source: 'k8s.io/kubernetes/test/images/agnhost' },
    ],
  ),
];

/** Kubernetes' own end-to-end tests, for `test/conformance`. Not in {@link recipes}: a lab starts without them. */
export const kubernetesTests: Recipe = {
  name: 'kubernetes-e2e',
  version: kubernetes,
  folder: modulesOf('kubernetes-e2e'),
  compiler: ['go', 'test', '-c', '-trimpath', '-buildvcs=false', '-ldflags', `-s -w ${kubernetesVersion}`],
  binaries: [{ name: 'e2e.test', source: 'k8s.io/kubernetes/test/e2e' }],
};

function go(name: string, version: string, flags: readonly string[], binaries: readonly Binary[]): Recipe {
  const linker = flags.includes('-ldflags') ? [] : ['-ldflags', '-s -w'];
  return {
    name,
    version,
    folder: modulesOf(name),
    compiler: ['go', 'build', '-v', '-trimpath', '-buildvcs=false', ...linker, ...flags],
    binaries,
  };
}

/** The folder with the pinned modules of a recipe. */
function modulesOf(name: string): string {
  return path.join(import.meta.dirname, '..', 'build', name);
}
