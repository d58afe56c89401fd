import type { ListeningSocket } from '../../src/core/model/host.ts';
import type { ListenerAddress } from '../../src/core/traffic/table.ts';
import type { Host } from '../../src/ports/host.ts';

/** Sockets of a host in memory. Keeps to the contract of its port (test/contract/host.ts). */
export type FakeHost = {
  readonly host: Host;
  readonly listening: ListeningSocket[];
  /** Connections that are open, by their end on this host. */
  readonly connections: Set<{ readonly local: ListenerAddress; readonly isTaken: boolean }>;
};

/** `step` is awaited before connections end, with the listeners; where it throws, they stay. */
export function makeFakeHost(
  step: (listeners: readonly ListenerAddress[]) => Promise<void> = async () => undefined,
): FakeHost {
  const listening: ListeningSocket[] = [];
  const connections: FakeHost['connections'] = new Set();
  return {
    listening,
    connections,
    host: {
      listening: async (signal) => {
        signal.throwIfAborted();
        return [...listening];
      },
      endConnections: async (listeners, signal) => {
        await step(listeners);
        signal.throwIfAborted();
        for (const connection of connections) {
          const { local, isTaken } = connection;
          const isMeant = listeners.some(
            ({ address, port }) => address.text === local.address.text && port === local.port,
          );
          if (isTaken && isMeant) connections.delete(connection);
        }
      },
    },
  };
}
