import type { ServerState } from './answers.ts';
import { profileOfSlot } from './layout.ts';
import { addNodeServer, addSlotServer, type NodeServer, nodesBackend, type Servers } from './servers.ts';

/** What the process holds: its map, and the servers of our backends by backend and name. */
export type Held = {
  readonly pid: number;
  readonly rows: Map<string, string>;
  readonly servers: ReadonlyMap<string, ReadonlyMap<string, ServerState>>;
};

/** A row that differs; without a value it goes. */
export type RowChange = { readonly key: string; readonly value: string | undefined };

/** The rows that must come or change. */
export function rowUpserts(held: ReadonlyMap<string, string>, wanted: ReadonlyMap<string, string>): RowChange[] {
  const changes: RowChange[] = [];
  for (const [key, value] of wanted) if (held.get(key) !== value) changes.push({ key, value });
  return changes;
}

/** The rows that must go. */
export function rowRemovals(held: ReadonlyMap<string, string>, wanted: ReadonlyMap<string, string>): RowChange[] {
  const changes: RowChange[] = [];
  for (const key of held.keys()) if (!wanted.has(key)) changes.push({ key, value: undefined });
  return changes;
}

/** `add map` makes a second entry of a key that exists, `set map` fails for one that does not: so `held` decides. */
export function rowCommand(map: string, change: RowChange, held: ReadonlyMap<string, string>): string {
  const { key, value } = change;
  if (value === undefined) return `del map ${map} ${key}`;
  return `${held.has(key) ? 'set' : 'add'} map ${map} ${key} ${value}`;
}

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

/** `backend/name` of the servers that the table no longer has; those in slots first, for they track the nodes. */
export function leftoverServers(held: Held['servers'], wanted: Servers): readonly string[] {
  const leftover: string[] = [];
  for (const [backend, present] of held) {
    if (profileOfSlot(backend) === undefined) continue;
    const names = new Set((wanted.slots.get(backend) ?? []).map((server) => server.name));
    for (const name of present.keys()) if (!names.has(name)) leftover.push(`${backend}/${name}`);
  }
  for (const family of [4, 6] as const) {
    const backend = nodesBackend(family);
    const names = new Set<string>(wanted.nodes[family].map((server) => server.node));
    for (const name of held.get(backend)?.keys() ?? []) if (!names.has(name)) leftover.push(`${backend}/${name}`);
  }
  return leftover;
}
