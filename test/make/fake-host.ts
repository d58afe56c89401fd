import type { ListeningSocket } from '../../src/core/model/host.ts';
import type { ListenerKey } from '../../src/core/model/names.ts';
import { type ListenerAddress, listenerKey } from '../../src/core/traffic/table.ts';
import type { Client, Host } from '../../src/ports/host.ts';

/** A connection of the host, by its end there. */
export type FakeConnection = { readonly local: ListenerAddress; readonly isTaken: boolean; readonly peer: Client };

/**
 * Sockets of a host in memory. Keeps to the contract of its port (test/contract/host.ts). `beforeEnd` is awaited before
 * connections end; if it throws, they stay.
 */
export function makeFakeHost({
  listening,
  connections = new Set(),
  beforeEnd = async () => undefined,
}: {
  readonly listening: (signal: AbortSignal) => Promise<readonly ListeningSocket[]>;
  /** Open connections. */
  readonly connections?: Set<FakeConnection>;
  readonly beforeEnd?: (listeners: readonly ListenerAddress[]) => Promise<void>;
}): Host {
  return {
    listening: async (signal) => {
      signal.throwIfAborted();
      return await listening(signal);
    },
    clientsOf: async (listeners, signal) => {
      signal.throwIfAborted();
      const clients = new Map<ListenerKey, Client[]>();
      for (const { local, peer } of connections) {
        const key = listenerKey(local.address, local.port, 'TCP');
        if (!listeners.some(({ address, port, protocol }) => listenerKey(address, port, protocol) === key)) continue;
        clients.set(key, [...(clients.get(key) ?? []), peer]);
      }
      return clients;
    },
    endConnections: async (listeners, signal, isMeant = () => true) => {
      await beforeEnd(listeners);
      signal.throwIfAborted();
      for (const connection of connections) {
        const { local, isTaken, peer } = connection;
        const listener = listeners.find(
          ({ address, port, protocol }) =>
            protocol === 'TCP' && address.text === local.address.text && port === local.port,
        );
        if (isTaken && listener !== undefined && isMeant(listener, peer)) connections.delete(connection);
      }
    },
  };
}
