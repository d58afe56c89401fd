import type { ListenerKey } from '../../core/model/names.ts';
import { type NodeServer, serverId } from './config.ts';
import type { Desired } from './desired.ts';
import type { MapEntry } from './entries.ts';
import type { Applied } from './worker.ts';

/** The entries and servers that HAProxy refused: skipped until they change, or until all are retried. */
export type Refused = {
  note(refused: Applied['refused'], desired: Desired): void;
  /** The entries and servers of `desired` that are not refused. */
  without(
    desired: Desired,
  ): Pick<Desired, 'entries' | 'servers'> & { readonly spares: Pick<Desired['spares'], 'servers'> };
  /** The skipped listeners, each with the cause. */
  listeners(): ReadonlyMap<ListenerKey, string>;
  /** One of the skipped servers, with the cause; `undefined`: there is none. */
  server(): string | undefined;
  clear(): void;
};

/** A server cannot follow one that HAProxy refused. */
function spareServersOf({ spares }: Desired, isTaken: (server: NodeServer) => boolean): Desired['spares']['servers'] {
  return spares.servers.with(Array.from(spares.servers, ([name, servers]) => [name, servers.filter(isTaken)]));
}

export function makeRefused(): Refused {
  const entries = new Map<ListenerKey, { readonly entry: MapEntry; readonly words: string }>();
  const servers = new Map<string, { readonly address: string; readonly words: string }>();
  const isTaken = (server: NodeServer): boolean => servers.get(serverId(server))?.address !== server.address.text;
  return {
    note: (refused, desired) => {
      if (refused.entries.size > 0)
        for (const [listener, entry] of desired.entries) {
          const words = refused.entries.get(entry.key);
          if (words !== undefined) entries.set(listener, { entry, words: `HAProxy: ${words}` });
        }
      for (const server of [...desired.servers[4], ...desired.servers[6]]) {
        const words = refused.servers.get(serverId(server));
        if (words !== undefined) servers.set(serverId(server), { address: server.address.text, words });
      }
    },
    without: (desired) => {
      for (const [listener, { entry }] of entries)
        if (desired.entries.get(listener) !== entry) entries.delete(listener);
      const wanted = new Set([...desired.servers[4], ...desired.servers[6]].map(serverId));
      for (const id of servers.keys()) if (!wanted.has(id)) servers.delete(id);
      return {
        spares: servers.size === 0 ? desired.spares : { servers: spareServersOf(desired, isTaken) },
        entries:
          entries.size === 0
            ? desired.entries
            : desired.entries.with(Array.from(entries.keys(), (listener) => [listener, undefined])),
        servers:
          servers.size === 0
            ? desired.servers
            : { 4: desired.servers[4].filter(isTaken), 6: desired.servers[6].filter(isTaken) },
      };
    },
    listeners: () => new Map(Array.from(entries, ([listener, { words }]) => [listener, words])),
    server: () => {
      const [first] = servers;
      return first && `${first[0]}: ${first[1].words}`;
    },
    clear: () => {
      entries.clear();
      servers.clear();
    },
  };
}
