import type { Ip } from '../../core/ip/ip.ts';
import type { Listener } from '../../core/traffic/table.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Host } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import { connectionFilter, decodeListening, ofFamily } from './sockets.ts';

/** A filter of this many listeners stays far below the kernel's limit for one. */
const listenersPerCall = 100;

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
  /** True once a connection was ended, or it was said that this kernel cannot: no need to look any more. */
  let isSettled = false;

  const ss = async (args: readonly string[], signal: AbortSignal): Promise<string> =>
    (await exec.run('ss', args, { signal })).stdout;

  /** One family at a time: without one `ss -K` complains about a request that it did not need. */
  const end = async (family: 4 | 6, listeners: readonly Listener[], signal: AbortSignal): Promise<void> => {
    const select = [`-${family}Htn`, 'state', 'connected', 'exclude', 'time-wait', ...connectionFilter(listeners)];
    const ended = await ss(['-K', ...select], signal);
    if (isSettled) return;
    const hasEnded = ended !== '';
    if (!hasEnded && (await ss(select, signal)) === '') return; // there was none to end
    isSettled = true;
    // `ss -K` says nothing of connections that it cannot end.
    if (!hasEnded) log.warn({}, 'connections outlive their Service: this kernel lacks INET_DIAG_DESTROY');
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
