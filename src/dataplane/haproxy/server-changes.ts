import type { ServerState } from './answers.ts';
import type { Held } from './held.ts';
import { profileOfSlot } from './layout.ts';
import { addNodeServer, addSlotServer, type NodeServer, nodesBackend, type Servers } from './servers.ts';

/** The commands that add what is missing and set what differs; nodes first, for the servers in slots track them. */
export function serverUpserts(
  held: Held['servers'],
  wanted: Servers,
  isChecked: (family: 4 | 6) => boolean,
): readonly string[] {
  const commands: string[] = [];
  for (const family of [4, 6] as const) {
    const present = held.get(nodesBackend(family));
    for (const server of wanted.nodes[family])
      commands.push(...nodeChanges(present?.get(server.node), server, isChecked(family)));
  }
  for (const [slot, servers] of wanted.slots) {
    const profile = profileOfSlot(slot);
    if (profile === undefined) continue;
    for (const server of servers) {
      const id = `${slot}/${server.name}`;
      const present = held.get(slot)?.get(server.name);
      if (present === undefined) commands.push(...addSlotServer(slot, server, profile));
      else {
        if (present.weight !== server.weight) commands.push(`set server ${id} weight ${server.weight}`);
        if (present.isOut) commands.push(`set server ${id} state ready`);
      }
    }
  }
  return commands;
}

function nodeChanges(present: ServerState | undefined, server: NodeServer, isChecked: boolean): readonly string[] {
  if (present === undefined) return addNodeServer(server, isChecked);
  const id = `${nodesBackend(server.family)}/${server.node}`;
  const commands: string[] = [];
  if (present.address !== server.address.text) commands.push(`set server ${id} addr ${server.address.text}`);
  if (present.isOut !== server.isDraining)
    commands.push(`set server ${id} state ${server.isDraining ? 'drain' : 'ready'}`);
  if (isChecked && !present.isChecked) commands.push(`enable health ${id}`);
  // Checked no longer: what the check last said must not stick.
  if (!isChecked && present.isChecked) commands.push(`disable health ${id}`, `set server ${id} health up`);
  return commands;
}

/** A server that the table no longer has; `id` is `backend/name`. */
export type Leftover = { readonly id: string; readonly backend: string; readonly isOut: boolean };

/** The servers that the table no longer has; those in slots first, for they track the nodes. */
export function leftoverServers(held: Held['servers'], wanted: Servers): readonly Leftover[] {
  const leftover = (backend: string, names: readonly string[]): readonly Leftover[] => {
    const kept = new Set(names);
    const servers = [...(held.get(backend)?.values() ?? [])].filter(({ server }) => !kept.has(server));
    return servers.map(({ server, isOut }) => ({ id: `${backend}/${server}`, backend, isOut }));
  };
  const slots = [...held.keys()].filter((backend) => profileOfSlot(backend) !== undefined);
  return [
    ...slots.flatMap((slot) => {
      const names = wanted.slots.get(slot)?.map(({ name }) => name);
      return leftover(slot, names ?? []);
    }),
    ...([4, 6] as const).flatMap((family) => {
      const names = wanted.nodes[family].map(({ node }) => node);
      return leftover(nodesBackend(family), names);
    }),
  ];
}
