import type { ListenerKey, NodeName } from '../../core/model/names.ts';
import { type NodeServer, serverId } from './config.ts';
import type { Desired } from './desired.ts';
import type { MapEntry } from './entries.ts';
import { familyOfSpare, isSpareName, type SpareName, type SpareServer } from './spares.ts';
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
  /** The Pods: a spare with one of them is another object after each change, and then all of its own are tried again. */
  const pods = new Map<SpareName, { readonly of: readonly SpareServer[]; readonly words: Map<string, string> }>();
  const isTaken = (server: NodeServer): boolean => servers.get(serverId(server))?.address !== server.address.text;
  /** Without refused Pods, and without nodes that HAProxy refused: a server cannot follow those. */
  const takenIn = (name: SpareName, spare: readonly SpareServer[]): readonly SpareServer[] => {
    const family = familyOfSpare(name);
    return spare.filter(({ name: server, port, address }) =>
      port === 0
        ? servers.get(serverId({ family, node: server as NodeName }))?.address !== address.text
        : pods.get(name)?.words.has(server) !== true,
    );
  };
  const changedSpares = (desired: Desired): readonly (readonly [SpareName, readonly SpareServer[]])[] => {
    // A refused node may be in any of them.
    const names = servers.size > 0 ? desired.spares.servers.keys() : pods.keys();
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
        if (!isSpareName(name) || of?.find((each) => each.name === server && each.port !== 0) === undefined) continue;
        const known = pods.get(name) ?? { of, words: new Map<string, string>() };
        pods.set(name, known);
        known.words.set(server, words);
      }
    },
    without: (desired) => {
      for (const [listener, { entry }] of entries)
        if (desired.entries.get(listener) !== entry) entries.delete(listener);
      const wanted = new Set([...desired.servers[4], ...desired.servers[6]].map(serverId));
      for (const id of servers.keys()) if (!wanted.has(id)) servers.delete(id);
      for (const [name, { of }] of pods) if (desired.spares.servers.get(name) !== of) pods.delete(name);
      return {
        spares:
          servers.size + pods.size === 0
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
      const [[name, words] = []] = Array.from(pods.values()).flatMap((each) => [...each.words]);
      return name && `${name}: ${words}`;
    },
    clear: () => {
      entries.clear();
      servers.clear();
      pods.clear();
    },
  };
}
