import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe } from 'vitest';
import { type Lab, openLab } from '../../lab/lab.ts';
import { kubeProxyHealthPort } from '../../src/core/model/contract.ts';
import { makeKubeProxy } from '../../src/health/kube-proxy-sync.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { resourcePath } from '../../src/kube/paths.ts';
import { statusBody } from '../../src/kube/write-bodies.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import { mine, type Service } from '../contract/api-server-requests.ts';
import { kubeProxyContract } from '../contract/kube-proxy.ts';
import { addressOf } from '../make/table.ts';
import { type LabClients, startLabClients } from './harness/admin-client.ts';
import { labName, namespace } from './harness/names.ts';
import { isRoot } from './harness/stage.ts';

/** The address here that stands for the node. */
const here = addressOf('127.77.4.1');
const { signal } = new AbortController();

/** The contract that the kube-proxy in memory passes in the unit tests. */
describe.skipIf(!isRoot)('Kubernetes', () => {
  let lab: Lab;
  let clients: LabClients;
  let client: KubeClient;
  let relay: Server;

  beforeAll(async () => {
    lab = await openLab(labName, signal);
    clients = await startLabClients(lab);
    client = await clients.clientOf(lab.kubeconfig());
    relay = await relayTo(lab);
  });
  afterAll(async () => {
    relay.close();
    await client.close();
    await clients[Symbol.asyncDispose]();
  });

  kubeProxyContract('the real one', async () => {
    const services = resourcePath({ apiVersion: 'v1', plural: 'services' }, { namespace });
    const spec = { type: 'LoadBalancer', loadBalancerClass: 'example.com/none', ports: [{ port: 80 }] };
    const made = await client.create<Service>(services, { metadata: { generateName: 'synced-' }, spec }, { signal });
    const { name, uid = '' } = made.metadata;
    const kubeProxy = makeKubeProxy({ clock: systemClock });
    let last = 0;
    return {
      kubeProxy: { ...kubeProxy, ask: (_, until) => kubeProxy.ask(here, until) },
      clock: systemClock,
      publish: async () => {
        last++;
        const loadBalancer = { ingress: [{ ip: `203.0.113.${200 + last}`, ipMode: 'VIP' }] };
        const body = statusBody({ apiVersion: 'v1', kind: 'Service', namespace, name, uid }, { loadBalancer });
        await client.apply(`${services}/${name}/status`, body, mine);
      },
      restart: async () => {
        await lab.stopPart('n1-kube-proxy', { graceMs: 0 });
        await lab.startPart('n1-kube-proxy');
      },
      drive: (promise) => promise,
      [Symbol.asyncDispose]: async () => {
        kubeProxy.close();
        await client.delete(`${services}/${name}`, { signal });
      },
    };
  });
});

/** Relays each connection to the kube-proxy of n1. */
async function relayTo(lab: Lab): Promise<Server> {
  const { argv, env } = await lab.host('lb1').command(['nc', lab.host('n1').ip4, String(kubeProxyHealthPort)]);
  const [program = '', ...args] = argv;
  const server = createServer((socket) => {
    const nc = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'ignore'] });
    socket.on('error', () => socket.destroy()).on('close', () => nc.kill());
    nc.on('exit', () => socket.destroy());
    nc.stdin.on('error', () => socket.destroy());
    socket.pipe(nc.stdin);
    nc.stdout.pipe(socket);
  });
  server.listen(kubeProxyHealthPort, here.text);
  await once(server, 'listening');
  return server;
}
