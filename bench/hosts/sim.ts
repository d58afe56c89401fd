/*
 * Runs on the load-balancer host: `node sim.ts '{"kubeconfig":…}'` ({@link SimOrder}) is the simulated API server of
 * the tests, filled with Services and nodes. It writes the kubeconfig for it, says `serving`, and then answers
 * questions, a line of JSON each ({@link Question}, {@link Answer}), in their order.
 */
import { writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { startSimApiServer } from '../../test/sim/apiserver.ts';
import type { SimObject } from '../../test/sim/kinds.ts';
import { now } from './services.ts';

export type SimOrder = {
  /** The path of the kubeconfig. */
  readonly kubeconfig: string;
  readonly services: number;
  /** Internal addresses of the nodes. */
  readonly nodes: readonly string[];
  /** Of the first Service; the others follow. */
  readonly nodePort: number;
};

export type Question =
  /** Resolves when all Services have an address. */
  | { readonly do: 'awaitAddresses' }
  /** Changes the port of a Service; resolves when its status has the new one. */
  | { readonly do: 'changePort'; readonly service: string; readonly port: number };

/** Times in ms, of the machine's clock: of the change of the Service, and of furiwake's last write. */
export type Answer = { readonly changedAt: number; readonly writtenAt: number };

const order = JSON.parse(process.argv[2] ?? '') as SimOrder;
await using server = await startSimApiServer({ seed: 1 });
server.put('Namespace', { metadata: { name: 'furiwake-system' } });
for (const [index, address] of order.nodes.entries()) server.put('Node', node(`node-${index}`, address));
for (let index = 0; index < order.services; index++)
  server.put('Service', service(`service-${index}`, 80, order.nodePort + index));
await writeFile(order.kubeconfig, server.kubeconfig());
process.stdout.write('serving\n');
for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as Question))}\n`);

async function answer(question: Question): Promise<Answer> {
  const changedAt = now();
  if (question.do === 'awaitAddresses') {
    await untilTrue(() => server.list('Service').every((object) => portsOf(object).length > 0), 20);
    return { changedAt, writtenAt: now() };
  }
  const key = `default/${question.service}`;
  const present = server.get('Service', key);
  if (present === undefined) throw new Error(`there is no Service ${key}`);
  server.put('Service', { ...present, spec: { ...present.spec, ports: [{ port: question.port, nodePort: nodePortOf(present) }] } }); // prettier-ignore
  await untilTrue(() => portsOf(server.get('Service', key)).includes(question.port), 1);
  return { changedAt, writtenAt: now() };
}

async function untilTrue(isTrue: () => boolean, everyMs: number): Promise<void> {
  while (!isTrue()) await sleep(everyMs);
}

/** Ports in the status. */
function portsOf(object: SimObject | undefined): readonly number[] {
  type Status = { loadBalancer?: { ingress?: { ports?: { port: number }[] }[] } };
  const { loadBalancer } = (object?.status ?? {}) as Status;
  return (loadBalancer?.ingress ?? []).flatMap(({ ports = [] }) => ports.map(({ port }) => port));
}

function nodePortOf(object: SimObject): number | undefined {
  const [port] = (object.spec?.['ports'] ?? []) as { nodePort: number }[];
  return port?.nodePort;
}

/** With the fields and the size of a typical Service. */
function service(name: string, port: number, nodePort: number): SimObject {
  return {
    metadata: {
      name,
      namespace: 'default',
      labels: {
        'app.kubernetes.io/name': name,
        'app.kubernetes.io/managed-by': 'Helm',
        'helm.sh/chart': `${name}-1.2.3`,
      },
      annotations: { 'meta.helm.sh/release-name': name, 'meta.helm.sh/release-namespace': 'default' },
    },
    spec: {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.1',
      clusterIPs: ['10.96.0.1'],
      selector: { 'app.kubernetes.io/name': name, 'app.kubernetes.io/instance': name },
      ports: [{ name: 'http', port, targetPort: 'http', nodePort }],
    },
  };
}

/** With as many images as a kubelet reports, because they are most of a Node's size. */
function node(name: string, address: string): SimObject {
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
