import { maxLineBytes, packLines, type SocketRequest } from './client.ts';
import { unlessUnreachable } from './errors.ts';

/**
 * The workers that a reload has replaced. They take no connection any more, check no server, and end with the last
 * connection that they have; only the master's socket leads to them.
 */
export type OldWorkers = {
  /**
   * Ends their connections to the servers of which `isMeant` says so. No error when there are none, or when the master
   * or one of them does not answer: the next round comes.
   */
  endConnections(isMeant: (backend: string, server: string) => boolean, signal: AbortSignal): Promise<void>;
};

export function makeOldWorkers(master: SocketRequest): OldWorkers {
  const ask = async (text: string, signal: AbortSignal): Promise<string> =>
    (await master(`${text}\nquit\n`, signal).catch(unlessUnreachable)) ?? '';
  return {
    endConnections: async (isMeant, signal) => {
      for (const pid of parseOldWorkers(await ask('show proc', signal))) {
        const sessions = parseSessions(await ask(`@!${pid} show sess`, signal));
        // One by one: to `shutdown sessions server` they say "Proxy is disabled".
        const commands = sessions
          .filter(({ backend, server }) => isMeant(backend, server))
          .map(({ id }) => `@!${pid} shutdown session ${id}`);
        for (const line of packLines(commands, maxLineBytes)) await ask(line.join(';'), signal);
      }
    },
  };
}

/** Reads `show proc` of the master: the process ids of the workers under `# old workers`. */
export function parseOldWorkers(answer: string): readonly number[] {
  const [, section = ''] = answer.split(/^# old workers.*\n/m);
  return [...section.replace(/^#[^]*/m, '').matchAll(/^(\d+)\s+worker\s/gm)].map(([, pid]) => Number(pid));
}

/** A session of `show sess`; one that is of no server has `<none>`. */
export type Session = { readonly id: string; readonly backend: string; readonly server: string };

/** Reads `show sess`: `0x5643ab8e0ab0: proto=tcpv4 src=… fe=services be=nodes4 srv=n1 ts=00 …`, a line per session. */
export function parseSessions(answer: string): readonly Session[] {
  return [...answer.matchAll(/^(0x[0-9a-f]+): .*? be=(\S+) srv=(\S+) /gm)].map(
    ([, id = '', backend = '', server = '']) => ({ id, backend, server }),
  );
}
