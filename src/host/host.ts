import { families } from '../core/ip/ip.ts';
import type { ListenerKey } from '../core/model/names.ts';
import { type ListenerAddress, listenerKey } from '../core/traffic/table.ts';
import type { Exec } from '../ports/exec.ts';
import type { Client, Host } from '../ports/host.ts';
import type { Log } from '../ports/log.ts';
import { type Connection, connectionFilter, decodeConnections, decodeListening, endsFilter } from './sockets.ts';

/** A filter for this many listeners, or connections, is far below the kernel's limit. */
const listenersPerCall = 100;

const connected: readonly string[] = ['state', 'connected', 'exclude', 'time-wait'];

/** Sockets of this host. All functions throw `ExecError` when `ss` fails. */
export function makeHost({ exec, log }: { readonly exec: Exec; readonly log: Log }): Host {
  let hasWarned = false;

  const ss = async (args: readonly string[], signal: AbortSignal): Promise<string> =>
    (await exec.run('ss', args, { signal })).stdout;

  /**
   * On one of the host's own addresses, other connections may have the address and port of a listener at this end:
   * connections that the host opens (HAProxy to the nodes, furiwake to the API server) use a free port, an NFS client one
   * below 1024. Those connections are spared. One family at a time: without a family `ss -K` reports an error for the
   * other one.
   */
  const end = async <L extends ListenerAddress>(
    family: 4 | 6,
    listeners: readonly L[],
    signal: AbortSignal,
    isMeant: ((listener: L, client: Client) => boolean) | undefined,
  ): Promise<void> => {
    const select = (filter: readonly string[]): readonly string[] => [`-${family}HOtn`, ...connected, ...filter];
    const byEnd = new Map(listeners.map((listener) => [keyOf(listener), listener]));
    const isEnding = ({ local, peer, isTaken }: Connection): boolean => {
      const listener = byEnd.get(keyOf(local));
      return isTaken && listener !== undefined && (isMeant === undefined || isMeant(listener, peer));
    };
    const find = async (): Promise<readonly Connection[]> =>
      decodeConnections(await ss(['--inet-sockopt', ...select(connectionFilter(listeners))], signal));
    const found = await find();
    const ending = found.filter(isEnding);
    if (ending.length === 0) return;
    const filters =
      isMeant === undefined
        ? [
            connectionFilter(
              listeners,
              found.filter(({ isTaken }) => !isTaken),
            ),
          ]
        : Array.from({ length: Math.ceil(ending.length / listenersPerCall) }, (_, part) =>
            endsFilter(ending.slice(part * listenersPerCall, (part + 1) * listenersPerCall)),
          );
    let ended = '';
    for (const filter of filters) ended += await ss(['-K', ...select(filter)], signal);
    if (ended !== '' || hasWarned || !(await find()).some(isEnding)) return;
    hasWarned = true;
    // `ss -K` does not report connections that it cannot end.
    log.warn(
      {},
      'connections outlive their Service, or a change of its source ranges: this kernel cannot end them (INET_DIAG_DESTROY is missing)',
    );
  };

  /** In calls for one family and at most `listenersPerCall` listeners of TCP. */
  const inParts = async <L extends ListenerAddress>(
    listeners: readonly L[],
    work: (family: 4 | 6, part: readonly L[]) => Promise<void>,
  ): Promise<void> => {
    for (const family of families) {
      const mine = listeners.filter(({ address, protocol }) => address.family === family && protocol === 'TCP');
      for (let i = 0; i < mine.length; i += listenersPerCall) await work(family, mine.slice(i, i + listenersPerCall));
    }
  };

  return {
    listening: async (signal) => {
      const [tcp, udp] = await Promise.all([ss(['-Hltn'], signal), ss(['-Hlun'], signal)]);
      return [...decodeListening(tcp, 'TCP'), ...decodeListening(udp, 'UDP')];
    },
    endConnections: async (listeners, signal, isMeant) => {
      await inParts(listeners, (family, part) => end(family, part, signal, isMeant));
    },
    clientsOf: async (listeners, signal) => {
      const clients = new Map<ListenerKey, Client[]>();
      await inParts(listeners, async (family, part) => {
        const text = await ss([`-${family}HOtn`, ...connected, ...connectionFilter(part)], signal);
        for (const { local, peer } of decodeConnections(text)) {
          const key = keyOf(local);
          const those = clients.get(key);
          if (those === undefined) clients.set(key, [peer]);
          else those.push(peer);
        }
      });
      return clients;
    },
  };
}

function keyOf({ address, port }: Pick<ListenerAddress, 'address' | 'port'>): ListenerKey {
  return listenerKey(address, port, 'TCP');
}
