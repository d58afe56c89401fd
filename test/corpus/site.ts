import { copyFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { imageNames } from '../../lab/images/images.ts';
import type { Lab } from '../../lab/lab.ts';
import { until } from '../../lab/machine/until.ts';
import type { Host } from '../../lab/network/host.ts';
import { checkRuns } from '../../lab/network/part.ts';
import { ExecError, refusalOf } from '../../src/ports/exec.ts';
import { type Cluster, makeCluster } from '../e2e/harness/cluster.ts';
import { account, bundleOf, kubeconfigOf } from '../e2e/harness/names.ts';
import { namespace, type Manifest, pools, type PortSpec } from './cases.ts';
import type { Answer, Question } from './hosts/ask.ts';

/** `--addresses`: with the addresses that the cases request, and the pools that they name. */
export const addresses: string = [
  '203.0.113.0/24',
  '2001:db8:0:3::/120',
  ...Array.from(pools, ([name, address]) => `${name}=${address}`),
].join(',');

/** A lab with the Pods of the corpus, and furiwake on lb1. */
export type Site = {
  readonly cluster: Cluster;
  readonly balancer: Host;
  /** Behind the router, like real clients. */
  readonly client: Host;
  /** On the nodes' LAN, outside of the source ranges of all cases. */
  readonly lanclient: Host;
  readonly signal: AbortSignal;
};

const root = path.join(import.meta.dirname, '..', '..');
const askFile = path.join(import.meta.dirname, 'hosts', 'ask.ts');

/** Asks from a host; the answers are in the order of the targets. */
export async function askFrom(host: Host, question: Question, signal: AbortSignal): Promise<readonly Answer[]> {
  const command = [process.execPath, askFile, JSON.stringify(question)];
  return JSON.parse((await host.exec(command, { signal, timeoutMs: 120_000 })).stdout) as readonly Answer[];
}

/** Ports of the Pods. */
const podPorts = { TCP: 8080, UDP: 8081, SCTP: 8082, PROXY: 8090 } as const;

/** Where a port of a Service goes; the ports of the chart that expect the PROXY protocol are named `…-proxy`. */
export function targetPortOf({ name, protocol }: PortSpec): number {
  return name.endsWith('-proxy') ? podPorts.PROXY : podPorts[protocol];
}

/** The Pods that may answer for a Service. */
export function podsOf({ spec }: Manifest): readonly string[] {
  const nodes = spec.selector?.['node'] === undefined ? ['n1', 'n2'] : [spec.selector['node']];
  return nodes.map((node) => `corpus-${node}`);
}

/** Answers like netexec, but only on connections that begin with a PROXY header, and with the address in it. */
const proxyServer = `worker_processes 1;
error_log /dev/stderr;
pid /tmp/nginx.pid;
events { worker_connections 64; }
http {
  access_log off;
  server {
    listen ${podPorts.PROXY} proxy_protocol;
    listen [::]:${podPorts.PROXY} proxy_protocol;
    location = /hostname { return 200 $hostname; }
    location = /clientip { return 200 $proxy_protocol_addr:$proxy_protocol_port; }
  }
}
`;

function pod(node: string, hasSctp: boolean): object {
  const netexec = ['netexec', `--http-port=${podPorts.TCP}`, `--udp-port=${podPorts.UDP}`];
  if (hasSctp) netexec.push(`--sctp-port=${podPorts.SCTP}`);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `corpus-${node}`, namespace, labels: { app: 'corpus', node } },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'netexec',
          image: imageNames.agnhost,
          args: netexec,
          readinessProbe: { httpGet: { path: '/hostname', port: podPorts.TCP }, periodSeconds: 1 },
        },
        {
          name: 'proxy',
          image: imageNames.nginx,
          command: ['/usr/sbin/nginx', '-c', '/conf/nginx.conf', '-g', 'daemon off;'],
          volumeMounts: [{ name: 'conf', mountPath: '/conf' }],
        },
      ],
      volumes: [{ name: 'conf', configMap: { name: 'proxy' } }],
    },
  };
}

/** Creates the Pods of the corpus in a lab; resolves when they are ready. */
export async function furnish(lab: Lab, signal: AbortSignal): Promise<Site> {
  const cluster = await makeCluster(lab);
  const balancer = lab.host('lb1');
  const hasSctp = await balancer
    .exec(['perl', '-MSocket', '-e', 'socket(S, AF_INET, SOCK_STREAM, 132) or exit 1'])
    .then(
      () => true,
      (error: unknown) => refusalOf(error) === undefined,
    );
  const items = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'proxy', namespace },
      data: { 'nginx.conf': proxyServer },
    },
    ...['n1', 'n2'].map((node) => pod(node, hasSctp)),
  ];
  const manifest = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  // A new namespace has no ServiceAccount yet, and without one no Pod is admitted.
  await until('the Pods to be accepted', async () => lab.apply(manifest), { signal, everyMs: 100 });
  await lab.kubectl('wait', 'pods', '--all', '--for=condition=Ready', `--namespace=${namespace}`, '--timeout=60s');
  return { cluster, balancer, client: lab.host('client'), lanclient: lab.host('lanclient'), signal };
}

/** Uses the furiwake that runs on lb1, or starts the bundle in `dist/` there; disposing ends what this has started. */
export async function startFurnished(lab: Lab, signal: AbortSignal): Promise<Site & AsyncDisposable> {
  const site = await furnish(lab, signal);
  const { balancer } = site;
  const isReady = async (): Promise<boolean> => {
    const ready = ['curl', '--silent', '--fail', '--max-time', '2', 'http://127.0.0.1:9470/readyz'];
    return (await balancer.exec(ready, { signal })).stdout.startsWith('ok');
  };
  if (await isReady().catch((error: unknown) => !(error instanceof ExecError)))
    return { ...site, [Symbol.asyncDispose]: async () => undefined };
  await copyFile(path.join(root, 'dist', 'furiwake.js'), bundleOf(lab));
  await lab.apply(await readFile(path.join(root, 'deploy', 'furiwake.yaml'), 'utf8'));
  await lab.serviceAccountKubeconfig(account.namespace, account.name);
  const program = [process.execPath, bundleOf(lab)];
  const flags = ['--kubeconfig', kubeconfigOf(lab), '--addresses', addresses];
  const part = await balancer.spawn('furiwake', [...program, 'run', ...flags]);
  const isUp = async (): Promise<boolean> => {
    await checkRuns(lab.folder, part.name);
    return isReady();
  };
  await until('furiwake to be ready', isUp, { signal });
  return {
    ...site,
    [Symbol.asyncDispose]: async () => {
      await balancer.stop('furiwake');
      await balancer.exec([...program, 'cleanup']);
    },
  };
}
