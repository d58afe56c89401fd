import type { ListenerKey } from '../../../core/model/names.ts';
import { type NodeServer, serverId } from '../config/node-servers.ts';
import type { Desired } from '../config/desired.ts';
import type { MapEntry } from '../config/entries.ts';
import { isSpareName, type SpareName } from '../config/pools.ts';
import { followedBy, type SpareServer } from '../config/spare-servers.ts';
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

export function makeRefused(): Refused {
  const entries = new Map<ListenerKey, { readonly entry: MapEntry; readonly words: string }>();
  const servers = new Map<string, { readonly address: string; readonly words: string }>();
  /** The servers of spares: a spare is another object after each change, and then all of its own are tried again. */
  const spareServers = new Map<
    SpareName,
    { readonly of: readonly SpareServer[]; readonly words: Map<string, string> }
  >();
  const isTaken = (server: NodeServer): boolean => servers.get(serverId(server))?.address !== server.address.text;
  /** Without refused servers, and without those that would follow a node that HAProxy refused. */
  const takenIn = (name: SpareName, spare: readonly SpareServer[]): readonly SpareServer[] =>
    spare.filter((server) => {
      const followed = servers.get(followedBy(server) ?? '');
      return followed?.address !== server.address.text && spareServers.get(name)?.words.has(server.name) !== true;
    });
  const changedSpares = (desired: Desired): readonly (readonly [SpareName, readonly SpareServer[]])[] => {
    // A refused node may be in any of them.
    const names = servers.size > 0 ? desired.spares.servers.keys() : spareServers.keys();
    return Array.from(names, (name) => [name, takenIn(name, desired.spares.servers.get(name) ?? [])] as const);
  };

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
      for (const [id, words] of refused.servers) {
        const [name = '', server = ''] = id.split('/');
        const of = isSpareName(name) ? desired.spares.servers.get(name) : undefined;
        if (!isSpareName(name) || of?.find((each) => each.name === server) === undefined) continue;
        const known = spareServers.get(name) ?? { of, words: new Map<string, string>() };
        spareServers.set(name, known);
        known.words.set(server, words);
      }
    },
    without: (desired) => {
      for (const [listener, { entry }] of entries)
        if (desired.entries.get(listener) !== entry) entries.delete(listener);
      const wanted = new Set([...desired.servers[4], ...desired.servers[6]].map(serverId));
      for (const id of servers.keys()) if (!wanted.has(id)) servers.delete(id);
      for (const [name, { of }] of spareServers) if (desired.spares.servers.get(name) !== of) spareServers.delete(name);
      return {
        spares:
          servers.size + spareServers.size === 0
            ? desired.spares
            : { servers: desired.spares.servers.with(changedSpares(desired)) },
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
      if (first !== undefined) return `${first[0]}: ${first[1].words}`;
      for (const [spare, { words }] of spareServers)
        for (const [name, each] of words) return `${spare}/${name}: ${each}`;
      return undefined;
    },
    clear: () => {
      entries.clear();
      servers.clear();
      spareServers.clear();
    },
  };
}
