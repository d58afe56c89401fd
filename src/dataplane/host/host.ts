import type { Ip } from '../../core/ip/ip.ts';
import type { Listener } from '../../core/traffic/table.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Host } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import { type Connection, connectionFilter, decodeConnections, decodeListening, ofFamily } from './sockets.ts';

/** A filter of this many listeners stays far below the kernel's limit for one. */
const listenersPerCall = 100;

const connected: readonly string[] = ['state', 'connected', 'exclude', 'time-wait'];

/**
 * What is on this host, from the kernel. `ownAddresses` tells its addresses but for those that we added. Both functions
 * throw `ExecError` when `ss` fails.
 */
export function makeHost({
  exec,
  ownAddresses,
  log,
}: {
  readonly exec: Exec;
  readonly ownAddresses: (signal: AbortSignal) => Promise<readonly Ip[]>;
  readonly log: Log;
}): Host {
  let hasWarned = false;

  const ss = async (args: readonly string[], signal: AbortSignal): Promise<string> =>
    (await exec.run('ss', args, { signal })).stdout;

  /**
   * On an own address of the host there may be others' connections with a listener's address and port on this side: what
   * begins here (HAProxy's to the nodes, ours to the API server) has some free port, an NFS client one below 1024. They
   * are left alone. One family at a time: without one `ss -K` complains about a request that it did not need.
   */
  const end = async (family: 4 | 6, listeners: readonly Listener[], signal: AbortSignal): Promise<void> => {
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
    // `ss -K` says nothing of connections that it cannot end.
    log.warn({}, 'connections outlive their Service: this kernel lacks INET_DIAG_DESTROY');
  };

  return {
    facts: async (signal) => {
      const [own, sockets] = await Promise.all([ownAddresses(signal), ss(['-Hltn'], signal)]);
      return { ownAddresses: own, listening: decodeListening(sockets) };
    },
    endConnections: async (listeners, signal) => {
      for (const family of [4, 6] as const) {
        const mine = ofFamily(listeners, family);
        for (let i = 0; i < mine.length; i += listenersPerCall)
          await end(family, mine.slice(i, i + listenersPerCall), signal);
      }
    },
  };
}
