import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { until } from '../machine/until.ts';
import { podRanges, serviceRanges } from '../network/address-plan.ts';
import type { Host } from '../network/host.ts';
import { checkRuns } from '../network/part.ts';
import { apiServer, kubeconfigPath } from './kubeconfig.ts';
import { pkiFiles } from './pki.ts';

const etcdClient = 'http://127.0.0.1:2379';
const etcdPeer = 'http://127.0.0.1:2380';

/** Starts etcd and the API server; they find each other. */
export async function startApiServer(host: Host, folder: string, moreFlags: readonly string[]): Promise<void> {
  const data = path.join(folder, 'etcd');
  await mkdir(data, { recursive: true, mode: 0o700 });
  const pki = pkiFiles(folder);
  await host.spawn('etcd', [
    'etcd',
    `--data-dir=${data}`,
    '--unsafe-no-fsync', // a lab need not survive a power failure
    `--listen-client-urls=${etcdClient}`,
    `--advertise-client-urls=${etcdClient}`,
    `--listen-peer-urls=${etcdPeer}`,
    `--initial-advertise-peer-urls=${etcdPeer}`,
    `--initial-cluster=default=${etcdPeer}`,
    '--log-level=warn',
  ]);
  await host.spawn('apiserver', [
    'kube-apiserver',
    `--etcd-servers=${etcdClient}`,
    `--advertise-address=${host.ip4}`,
    '--secure-port=6443',
    `--tls-cert-file=${pki.api}`,
    `--tls-private-key-file=${pki.apiKey}`,
    `--client-ca-file=${pki.ca}`,
    `--token-auth-file=${pki.tokens}`,
    `--service-account-key-file=${pki.saPublic}`,
    `--service-account-signing-key-file=${pki.saKey}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-cluster-ip-range=${serviceRanges.join(',')}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--allow-privileged=true',
    '--kubelet-preferred-address-types=InternalIP',
    `--kubelet-client-certificate=${pki.api}`, // logs and exec
    `--kubelet-client-key=${pki.apiKey}`,
    ...moreFlags,
  ]);
}

/**
 * Resolves when the API server says that it is ready.
 * @throws LabError `PART_ENDED` if it ends instead.
 */
export async function apiServerReady(host: Host, folder: string, signal: AbortSignal): Promise<void> {
  const ask = ['curl', '--silent', '--fail', '--cacert', pkiFiles(folder).ca, `${apiServer}/readyz`];
  const check = async (): Promise<boolean> => {
    await checkRuns(folder, 'cp-apiserver');
    return (await host.exec(ask, { signal, timeoutMs: 5_000 })).stdout === 'ok';
  };
  await until('the API server', check, { signal, timeoutMs: 120_000, everyMs: 100 });
}

/** Starts the controller manager and the scheduler; both need a ready API server. */
export async function startControllers(host: Host, folder: string): Promise<void> {
  const pki = pkiFiles(folder);
  const as = (user: string): readonly string[] =>
    ['kubeconfig', 'authentication-kubeconfig', 'authorization-kubeconfig'].map(
      (flag) => `--${flag}=${kubeconfigPath(folder, user)}`,
    );
  await Promise.all([
    host.spawn('controller-manager', [
      'kube-controller-manager',
      ...as('controller-manager'),
      '--leader-elect=false',
      '--use-service-account-credentials=true',
      '--kube-api-qps=500', // with 20, the tokens of its 40 accounts alone take five seconds
      '--kube-api-burst=1000',
      `--service-account-private-key-file=${pki.saKey}`,
      `--root-ca-file=${pki.ca}`,
      '--allocate-node-cidrs=true',
      `--cluster-cidr=${podRanges.join(',')}`,
      '--node-cidr-mask-size-ipv4=24',
      '--node-cidr-mask-size-ipv6=64',
      `--service-cluster-ip-range=${serviceRanges.join(',')}`,
      '--node-monitor-grace-period=20s',
    ]),
    host.spawn('scheduler', ['kube-scheduler', ...as('scheduler'), '--leader-elect=false']),
  ]);
}
