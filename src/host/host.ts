import type { ListenerKey } from '../core/model/names.ts';
import { type ListenerAddress, listenerKey } from '../core/traffic/table.ts';
import type { Exec } from '../ports/exec.ts';
import type { Client, Host } from '../ports/host.ts';
import type { Log } from '../ports/log.ts';
import { type Connection, connectionFilter, decodeConnections, decodeListening } from './sockets.ts';

/** A filter for this many listeners is far below the kernel's limit. */
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
  const end = async (family: 4 | 6, listeners: readonly ListenerAddress[], signal: AbortSignal): Promise<void> => {
    const select = (spared?: readonly Connection[]): readonly string[] => [
      `-${family}HOtn`,
      ...connected,
      ...connectionFilter(listeners, spared),
    ];
    const find = async (): Promise<readonly Connection[]> =>
      decodeConnections(await ss(['--inet-sockopt', ...select()], signal));
    const found = await find();
    if (!found.some(({ isTaken }) => isTaken)) return;
    const ended = await ss(['-K', ...select(found.filter(({ isTaken }) => !isTaken))], signal);
    if (ended !== '' || hasWarned || !(await find()).some(({ isTaken }) => isTaken)) return;
    hasWarned = true;
    // `ss -K` does not report connections that it cannot end.
    log.warn({}, 'connections outlive their Service: this kernel cannot end them (INET_DIAG_DESTROY is missing)');
  };

  /** In calls for one family and at most `listenersPerCall` listeners of TCP. */
  const inParts = async (
    listeners: readonly ListenerAddress[],
    work: (family: 4 | 6, part: readonly ListenerAddress[]) => Promise<void>,
  ): Promise<void> => {
    for (const family of [4, 6] as const) {
      const mine = listeners.filter(({ address, protocol }) => address.family === family && protocol === 'TCP');
      for (let i = 0; i < mine.length; i += listenersPerCall) await work(family, mine.slice(i, i + listenersPerCall));
    }
  };

  return {
    listening: async (signal) => {
      const [tcp, udp] = await Promise.all([ss(['-Hltn'], signal), ss(['-Hlun'], signal)]);
      return [...decodeListening(tcp, 'TCP'), ...decodeListening(udp, 'UDP')];
    },
    endConnections: async (listeners, signal) => {
      await inParts(listeners, (family, part) => end(family, part, signal));
    },
    clientsOf: async (listeners, signal) => {
      const clients = new Map<ListenerKey, Client[]>();
      await inParts(listeners, async (family, part) => {
        const text = await ss([`-${family}HOtn`, ...connected, ...connectionFilter(part)], signal);
        for (const { local, peer } of decodeConnections(text)) {
          const key = listenerKey(local.address, local.port, 'TCP');
          const those = clients.get(key);
          if (those === undefined) clients.set(key, [peer]);
          else those.push(peer);
        }
      });
      return clients;
    },
  };
}
