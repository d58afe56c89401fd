import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { apiServer } from '../../../lab/cluster/kubeconfig.ts';
import type { Lab } from '../../../lab/lab.ts';
import type { KubeClient } from '../../../src/kube/client.ts';
import { systemClock } from '../../../src/main/node/clock.ts';
import { silent } from '../../make/log.ts';
import { connect } from '../../sim/harness.ts';
import { recordMetrics } from '../../sim/observers.ts';

/** Clients in this process for the lab's API server, which only hosts of the lab can reach. */
export type LabClients = AsyncDisposable & {
  /** furiwake's client, with the kubeconfig at this path. */
  clientOf(kubeconfig: string): Promise<KubeClient>;
  /** Closes their connections, for `nc` does not notice that the API server was killed. */
  disconnect(): void;
};

/** Relays each connection through an `nc` on the API server's host. */
export async function startLabClients(lab: Lab): Promise<LabClients> {
  const { hostname, port, host } = new URL(apiServer);
  const { argv, env } = await lab.host('cp').command(['nc', hostname, port]);
  const [program = '', ...args] = argv;
  const sockets = new Set<Socket>();
  const relay = createServer((socket) => {
    const nc = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'ignore'] });
    sockets.add(socket);
    socket.on('error', () => socket.destroy()).on('close', () => nc.kill());
    nc.stdin.on('error', () => socket.destroy());
    socket.pipe(nc.stdin);
    nc.stdout.pipe(socket);
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  const relayed = `127.0.0.1:${(relay.address() as AddressInfo).port}`; // a name in the API server's certificate
  const disconnect = (): void => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  return {
    clientOf: async (kubeconfig) => {
      const text = (await readFile(kubeconfig, 'utf8')).replace(host, relayed);
      return connect({
        files: new Map([['/config', text]]),
        clock: systemClock,
        log: silent,
        metrics: recordMetrics(),
        random: Math.random,
      });
    },
    disconnect,
    [Symbol.asyncDispose]: async () => {
      disconnect();
      relay.close();
      await once(relay, 'close');
    },
  };
}
