import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import type { Connector } from '../../src/kube/open-connections.ts';

/** How clients get to a server. */
export type Access = {
  readonly url: string;
  /** What a client connects with; `undefined`: TCP, to the `url`. */
  readonly connect: Connector | undefined;
  readonly resetConnections: () => void;
  readonly close: () => Promise<void>;
};

/** Port 0: a free one. */
export async function listenOn(server: Server, port: number): Promise<Access> {
  await new Promise<void>((resolve) => {
    server.listen(port, '127.0.0.1', resolve);
  });
  const resetConnections = (): void => server.closeAllConnections();
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connect: undefined,
    resetConnections,
    close: async () => {
      const closed = new Promise((resolve) => {
        server.close(resolve);
      });
      resetConnections();
      await closed;
    },
  };
}

/**
 * A connection is a pair of streams in this process: the same HTTP, and no socket that a virtual clock would have to wait for.
 * Node's HTTP server accepts any Duplex as a `connection`.
 */
export function inProcess(server: Server): Access {
  const open = new Set<Duplex>();
  const resetConnections = (): void => open.forEach((each) => each.destroy());
  return {
    url: 'http://sim.invalid',
    connect: (_, callback) => {
      const [near, far] = duplexPair();
      open.add(far);
      far.once('close', () => {
        open.delete(far);
        near.destroy();
      });
      near.once('close', () => far.destroy());
      server.emit('connection', far);
      process.nextTick(callback, null, near); // undici expects the callback after this call
    },
    resetConnections,
    close: async () => resetConnections(),
  };
}

export function kubeconfigFor(server: string, token?: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'sim',
    clusters: [{ name: 'sim', cluster: { server } }],
    contexts: [{ name: 'sim', context: { cluster: 'sim', user: 'sim', namespace: 'default' } }],
    users: [{ name: 'sim', user: token === undefined ? {} : { token } }],
  });
}
