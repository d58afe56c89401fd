import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';
import { type Ip, parseIp } from '../core/ip/ip.ts';

/** Opens a connection to the server. */
export type Connector = buildConnector.connector;

/**
 * The open connections, with the address of this host that each comes from. When the host gets another address instead, the kernel
 * keeps connections from the old one, but no packet returns: a request would wait for its deadline, and a watch for as long as it may be
 * silent.
 */
export type OpenConnections = {
  /** The same, and its connections are followed. */
  follow(connector: Connector): Connector;
  /**
   * The host has these addresses by now. Ends connections from an address that it had before, if it has another one of that family: while
   * it has none, the address may return.
   */
  setOwn(own: ReadonlyMap<string, Ip>): void;
};

export function makeOpenConnections(): OpenConnections {
  const open = new Map<Socket, string>();
  /** Of now, and those before from which there are connections. */
  let had: ReadonlySet<string> = new Set();
  let last: ReadonlyMap<string, Ip> | undefined;

  const note = (socket: Socket): void => {
    const from = parseIp(socket.localAddress ?? '')?.text;
    if (from === undefined) return;
    open.set(socket, from);
    socket.once('close', () => open.delete(socket));
  };

  return {
    follow: (connector) => (options, callback) =>
      connector(options, (...result) => {
        if (result[0] === null) note(result[1]);
        callback(...result);
      }),
    setOwn: (own) => {
      if (own === last) return;
      last = own;
      const families = new Set(Array.from(own.values(), ({ family }) => family));
      const isStale = (from: string): boolean => {
        const family = parseIp(from)?.family;
        return had.has(from) && !own.has(from) && family !== undefined && families.has(family);
      };
      for (const [socket, from] of open)
        if (isStale(from))
          socket.destroy(
            Object.assign(new Error(`this host no longer has the address ${from}`), { code: 'ECONNABORTED' }),
          );
      had = new Set([...own.keys(), ...[...open.values()].filter((from) => had.has(from))]);
    },
  };
}
