import { PersistentMap } from '../../../core/persistent-map.ts';
import type { ServerNow } from '../runtime/answers.ts';
import type { RuntimeApi } from '../runtime/client.ts';
import { isSpareName, nodesOf, type SpareName } from './pools.ts';
import { drainMsOf, nodeOfServer, spareCommands, type SpareLine, spareLine } from './spare-servers.ts';
import type { Spares } from './spares.ts';

/** A runtime command and the server that it is about. */
export type ServerCommand = { readonly id: string; readonly command: string };

/**
 * The servers of the spare backends that a worker holds. Invariant as for `HeldEntries`: the changes have been made before the
 * next call; a caller that failed to make them must read the worker again.
 */
export type HeldSpares = {
  /** The changes that add and set all servers of `wanted`; the cost depends on how many differ. */
  upserts(wanted: Spares['servers']): readonly ServerCommand[];
  /**
   * Removes the servers that `wanted` does not have, except in the spares that are `named`; it is asked only if there are some.
   * Those with connections get no new ones, and the next call tries again.
   * Returns how many took new connections before.
   */
  removeLeftovers(
    wanted: Spares['servers'],
    named: () => ReadonlySet<string>,
    api: RuntimeApi,
    signal: AbortSignal,
  ): Promise<number>;
  /**
   * The commands that give servers without a check of their own the health of their node; `down`: the nodes that are not up, by
   * `serverId`. HAProxy refuses those for servers that track the node's: they follow already. The cost depends on how many there are
   * only if `down` differs from the last one, or there are new ones.
   */
  follow(down: ReadonlySet<string>): readonly string[];
  /** `backend/server` of the servers that get no new connections, and whose connections may not continue without end. */
  drainsWithLimit(): readonly string[];
  /** The state of the server `backend/server`; `undefined`: there is none. */
  adminOf(id: string): SpareLine['admin'] | undefined;
  /** `backend/server` of all servers of this name and family: `spare4-0/n1`. */
  serversOf(family: 4 | 6, node: string): readonly string[];
};

export function makeHeldSpares(lines: Iterable<ServerNow>): HeldSpares {
  const held = new Map<SpareName, Map<string, SpareLine>>();
  /** `backend/server` of those that are not up, as far as is known. */
  const stopped = new Set<string>();
  /** The nodes of the last `down`, as a text; `undefined`: there are servers that may not follow them. */
  let followed: string | undefined;
  for (const { backend, server, isUp, ...line } of lines) {
    if (!isSpareName(backend)) continue;
    if (!isUp) stopped.add(`${backend}/${server}`);
    const servers = held.get(backend) ?? new Map<string, SpareLine>();
    held.set(backend, servers.set(server, line));
  }
  /** These servers are held as they should be. */
  let reached: Spares['servers'] = PersistentMap.empty();
  /** The spares that may have servers that are not wanted. */
  const leaving = new Set<SpareName>(held.keys());
  /** The spares that have had servers with a limit. */
  const limited = new Set<SpareName>();
  const note = (name: SpareName, server: string): void => {
    if (drainMsOf(server) !== undefined) limited.add(name);
  };
  for (const [name, servers] of held) for (const server of servers.keys()) note(name, server);

  return {
    upserts: (wanted) => {
      const commands: ServerCommand[] = [];
      for (const name of PersistentMap.changedKeys(reached, wanted)) {
        const servers = held.get(name) ?? new Map<string, SpareLine>();
        held.set(name, servers);
        for (const server of wanted.get(name) ?? []) {
          const id = `${name}/${server.name}`;
          if ((servers.get(server.name)?.admin ?? 'maint') === 'maint') {
            stopped.delete(id); // one that is new, or leaves maintenance, is up
            followed = undefined;
          }
          for (const command of spareCommands(name, servers.get(server.name), server)) commands.push({ id, command });
          servers.set(server.name, spareLine(server));
          note(name, server.name);
        }
        leaving.add(name);
      }
      reached = wanted;
      return commands;
    },
    removeLeftovers: async (wanted, named, api, signal) => {
      const leftover: { readonly id: string; readonly name: SpareName; readonly server: string }[] = [];
      let differences = 0;
      let inUse: ReadonlySet<string> | undefined;
      for (const name of leaving) {
        const servers = wanted.get(name);
        const kept = new Set<string>(servers?.map((server) => server.name));
        const gone = [...(held.get(name) ?? [])].filter(([server]) => !kept.has(server));
        if (gone.length === 0) {
          if (reached.get(name) === servers) leaving.delete(name); // otherwise nothing says when it is released
        } else if (servers === undefined && (inUse ??= named()).has(name)) continue;
        for (const [server, line] of gone) {
          if (line.admin !== 'maint') differences++;
          held.get(name)?.set(server, { ...line, admin: 'maint' });
          leftover.push({ id: `${name}/${server}`, name, server });
        }
      }
      const commands = leftover.flatMap(({ id }) => [`set server ${id} state maint`, `del server ${id}`]);
      const answers = await api.ask(commands, signal);
      for (const [index, { name, server }] of leftover.entries())
        if (answers[2 * index + 1] === 'Server deleted.') {
          held.get(name)?.delete(server);
          stopped.delete(`${name}/${server}`);
        }
      return differences;
    },
    follow: (down) => {
      const text = Array.from(down).toSorted().join();
      if (followed === text) return [];
      followed = text;
      const commands: string[] = [];
      for (const [name, servers] of held)
        for (const [server, { isChecked }] of servers) {
          const id = `${name}/${server}`;
          const isDown = down.has(`${nodesOf(name)}/${nodeOfServer(server)}`);
          if (isChecked || stopped.has(id) === isDown) continue;
          commands.push(`set server ${id} health ${isDown ? 'down' : 'up'}`);
          if (isDown) stopped.add(id);
          else stopped.delete(id);
        }
      return commands;
    },
    drainsWithLimit: () =>
      Array.from(limited).flatMap((name) =>
        Array.from(held.get(name) ?? []).flatMap(([server, { admin }]) =>
          admin !== 'ready' && drainMsOf(server) !== undefined ? `${name}/${server}` : [],
        ),
      ),
    adminOf: (id) => {
      const slash = id.indexOf('/');
      return held.get(id.slice(0, slash) as SpareName)?.get(id.slice(slash + 1))?.admin;
    },
    serversOf: (family, node) =>
      Array.from(held)
        .filter(([name]) => name.startsWith(`spare${family}`))
        .flatMap(([name, servers]) =>
          Array.from(servers.keys(), (server) => (nodeOfServer(server) === node ? `${name}/${server}` : [])).flat(),
        ),
  };
}
