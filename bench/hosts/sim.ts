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
import { type Features, makeNode, makeService, makeSlice } from './sim-objects.ts';

export type SimOrder = {
  /** The path of the kubeconfig. */
  readonly kubeconfig: string;
  readonly services: number;
  /** Internal addresses of the nodes. */
  readonly nodes: readonly string[];
  /** Of the first Service; the others follow. */
  readonly nodePort: number;
  readonly features?: Features;
};

export type Question =
  /** Resolves when all Services have an address. */
  | { readonly do: 'awaitAddresses' }
  /** Changes the port of a Service; resolves when its status has the new one. */
  | { readonly do: 'changePort'; readonly service: string; readonly port: number }
  /** Gives a Service `sessionAffinity: ClientIP`; resolves at once. */
  | { readonly do: 'setAffinity'; readonly service: string }
  /** Changes how many nodes have an endpoint of a Service; resolves at once. */
  | { readonly do: 'setEndpoints'; readonly service: string; readonly count: number }
  | { readonly do: 'findAddress'; readonly service: string };

/** Times in ms, of the machine's clock: of the change of an object, and of the end of the wait. */
export type Answer = {
  readonly changedAt: number;
  readonly writtenAt: number;
  /** Of the Service that the question is about. */
  readonly address?: string;
};

const order = JSON.parse(process.argv[2] ?? '') as SimOrder;
const features = order.features ?? {};
await using server = await startSimApiServer({ seed: 1 });
server.put('Namespace', { metadata: { name: 'furiwake-system' } });
server.put('ServiceCIDR', { metadata: { name: 'kubernetes' }, spec: { cidrs: ['10.96.0.0/12'] } }); // as from 1.33 on
const nodes = order.nodes.map((address, index) => server.put('Node', makeNode(`node-${index}`, address)));
for (let index = 0; index < order.services; index++) {
  const nodePort = order.nodePort + index;
  server.put('Service', makeService(`service-${index}`, 80, nodePort, featuresOf(index)));
  setEndpoints(`service-${index}`, nodePort, features.endpoints ?? 1);
}
await writeFile(order.kubeconfig, server.kubeconfig());
process.stdout.write('serving\n');
for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as Question))}\n`);

function featuresOf(index: number): Features {
  const dataplane = features.dataplanes?.[index % features.dataplanes.length];
  if (dataplane === undefined) return features;
  return { ...features, annotations: { ...features.annotations, 'furiwake.dev/dataplane': dataplane } };
}

async function answer(question: Question): Promise<Answer> {
  const changedAt = now();
  if (question.do === 'awaitAddresses') {
    await untilTrue(() => server.list('Service').every((object) => portsOf(object).length > 0), 20);
    return { changedAt, writtenAt: now() };
  }
  const key = `default/${question.service}`;
  const present = server.get('Service', key);
  if (present === undefined) throw new Error(`there is no Service ${key}`);
  const nodePort = order.nodePort + Number(question.service.split('-')[1]);
  if (question.do === 'setEndpoints') setEndpoints(question.service, nodePort, question.count);
  if (question.do === 'setAffinity')
    server.put('Service', { ...present, spec: { ...present.spec, sessionAffinity: 'ClientIP' } });
  if (question.do === 'changePort') {
    server.put('Service', { ...present, spec: { ...present.spec, ports: [{ port: question.port, nodePort }] } });
    await untilTrue(() => portsOf(server.get('Service', key)).includes(question.port), 1);
  }
  const [ingress] = ingressOf(server.get('Service', key));
  return { changedAt, writtenAt: now(), ...(ingress?.ip === undefined ? {} : { address: ingress.ip }) };
}

function setEndpoints(service: string, nodePort: number, count: number): void {
  server.put('EndpointSlice', makeSlice(service, nodePort, nodes.slice(0, count)));
}

async function untilTrue(isTrue: () => boolean, everyMs: number): Promise<void> {
  while (!isTrue()) await sleep(everyMs);
}

type Ingress = { readonly ip?: string; readonly ports?: readonly { readonly port: number }[] };

function ingressOf(object: SimObject | undefined): readonly Ingress[] {
  const { loadBalancer } = (object?.status ?? {}) as { loadBalancer?: { ingress?: readonly Ingress[] } };
  return loadBalancer?.ingress ?? [];
}

/** Ports in the status. */
function portsOf(object: SimObject | undefined): readonly number[] {
  return ingressOf(object).flatMap(({ ports = [] }) => ports.map(({ port }) => port));
}
