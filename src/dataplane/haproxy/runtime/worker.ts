import { isDeepStrictEqual } from 'node:util';
import { families, type Family } from '../../../core/ip/ip.ts';
import { kubeProxyHealthPort } from '../../../core/model/contract.ts';
import { nodesBackend } from '../../../core/traffic/table.ts';
import { acceptanceCommand, isShut } from './acceptance.ts';
import {
  parseBackends,
  parseInfo,
  parseMap,
  parseMapName,
  parseMapSize,
  parseServersState,
  parseStat,
  type ServerLine,
} from './answers.ts';
import { changeServers } from './change-servers.ts';
import type { RuntimeApi } from './client.ts';
import { type ProgramId, parseDescription } from '../config/config.ts';
import { addNodeServer, adminOf, type NodeServer, serverId, type Servers, setAddress } from '../config/node-servers.ts';
import {
  backendOfEntry,
  type Entries,
  type EntryChange,
  type HeldEntries,
  makeHeldEntries,
} from '../config/entries.ts';
import { type HeldSpares, makeHeldSpares, type ServerCommand } from '../config/held-spares.ts';
import type { Spares } from '../config/spares.ts';

/** The contents of a worker: its program, its map, and the servers by backend and name. */
export type WorkerContents = {
  readonly pid: number;
  /** `undefined`: not a program that furiwake can use, or one that accepts no connections any more. */
  readonly program: ProgramId | undefined;
  /** The file that its map was read from, which is the map's name in commands. */
  readonly map: string;
  /** The backends that the program declares. */
  readonly backends: ReadonlySet<string>;
  readonly entries: HeldEntries;
  /** Those of the backends of all nodes. */
  readonly servers: ReadonlyMap<string, ReadonlyMap<string, ServerLine>>;
  readonly spares: HeldSpares;
};

/** Reads the contents of the serving worker. */
export async function readHeld(api: RuntimeApi, signal: AbortSignal): Promise<WorkerContents> {
  const map = parseMapName((await api.ask(['show map'], signal))[0] ?? '');
  const commands = ['show info', acceptanceCommand, 'show backend', `show map ${map}`, 'show servers state'];
  const [info = '', acceptance = '', backends = '', entries = '', servers = ''] = await api.ask(commands, signal);
  const process = parseInfo(info);
  return {
    pid: process.pid,
    program: isShut(acceptance) ? undefined : parseDescription(process.description),
    map,
    backends: parseBackends(backends),
    entries: makeHeldEntries(parseMap(entries)),
    servers: serversByBackend([servers]),
    spares: makeHeldSpares(parseServersState(servers)),
  };
}

/** Those of the backends of all nodes: with many spare ones the list of all servers is long. */
const serversCommands = families.map((family) => `show servers state ${nodesBackend(family)}`);

async function readServers(api: RuntimeApi, signal: AbortSignal): Promise<WorkerContents['servers']> {
  return serversByBackend(await api.ask(serversCommands, signal));
}

/** Whether the worker still has these contents, as far as that costs the same with any number of listeners. */
export async function seemsToHold(api: RuntimeApi, held: WorkerContents, signal: AbortSignal): Promise<boolean> {
  const [info = '', maps = '', ...servers] = await api.ask(['show info', 'show map', ...serversCommands], signal);
  const { pid, description } = parseInfo(info);
  return (
    pid === held.pid &&
    parseDescription(description) === held.program &&
    parseMapName(maps) === held.map &&
    parseMapSize(maps) === held.entries.values.size &&
    isDeepStrictEqual(serversByBackend(servers), held.servers)
  );
}

function serversByBackend(answers: readonly string[]): WorkerContents['servers'] {
  const servers = new Map<string, Map<string, ServerLine>>();
  for (const { isUp: _, ...state } of answers.flatMap(parseServersState)) {
    const backend = servers.get(state.backend) ?? new Map<string, ServerLine>();
    servers.set(state.backend, backend.set(state.server, state));
  }
  return servers;
}

export type WorkerDeps = {
  readonly api: RuntimeApi;
  /** Whether HAProxy's own checks decide for a family. */
  readonly isChecked: (family: Family) => boolean;
};

export type Applied = {
  /** The contents of the worker after the change, if no part was refused. */
  readonly held: WorkerContents;
  /** The number of repaired differences. */
  readonly changes: number;
  /** The refusals of the worker with its messages: entries by their key, servers by their ID. */
  readonly refused: { readonly entries: ReadonlyMap<string, string>; readonly servers: ReadonlyMap<string, string> };
};

type WantedContents = {
  readonly servers: Servers;
  readonly spares: Pick<Spares, 'servers'>;
  readonly entries: Entries;
};

const nothing: ReadonlyMap<string, string> = new Map();

/** Adds and sets everything that the worker lacks, servers before the entries that use them. */
export async function applyUpserts(
  deps: WorkerDeps,
  held: WorkerContents,
  wanted: WantedContents,
  signal: AbortSignal,
): Promise<Applied> {
  const { api, isChecked } = deps;
  const nodes = serverUpserts(held.servers, wanted.servers, isChecked);
  const commands = [...nodes, ...held.spares.upserts(wanted.spares.servers)];
  const servers = await changeServers(api, commands, signal);
  const changes = held.entries.upserts(wanted.entries);
  const entries = await applyEntries(deps.api, held, changes, signal);
  return {
    held: { ...held, servers: nodes.length === 0 ? held.servers : await readServers(api, signal) },
    changes: commands.filter(({ id }) => !servers.has(id)).length + changes.length - entries.size,
    refused: { entries, servers },
  };
}

/**
 * Removes the entries that the table no longer has, then its servers; one that already takes no connections is not a difference.
 */
export async function applyRemovals(
  deps: WorkerDeps,
  held: WorkerContents,
  wanted: WantedContents,
  signal: AbortSignal,
): Promise<Applied> {
  const changes = held.entries.prune(wanted.entries);
  const entries = await applyEntries(deps.api, held, changes, signal);
  const gone = changes.filter((change) => change.do === 'del');
  const counters = gone.map(({ key }) => `clear table services key ${key}`);
  await deps.api.ask(counters, signal); // an entry in use stays: its connections are about to be reset
  // A node can be deleted only when no server follows it.
  const spares = await removeSpareLeftovers(deps.api, held, wanted, signal);
  const leftover = leftoverServers(held.servers, wanted.servers).filter(({ admin }) => admin === 'ready');
  const servers = await removeLeftovers(deps.api, held.servers, wanted.servers, signal);
  return {
    held: { ...held, servers },
    changes: changes.length - entries.size + leftover.length + spares,
    refused: { entries, servers: nothing },
  };
}

/** A spare backend that an entry still names keeps its servers: the listener may wait for a reload with its settings of before. */
export async function removeSpareLeftovers(
  api: RuntimeApi,
  { entries, spares }: Pick<WorkerContents, 'entries' | 'spares'>,
  wanted: Pick<WantedContents, 'spares'>,
  signal: AbortSignal,
): Promise<number> {
  const named = (): ReadonlySet<string> =>
    new Set(Array.from(entries.values.values(), (value) => backendOfEntry({ value })));
  return await spares.removeLeftovers(wanted.spares.servers, named, api, signal);
}

/** Deletes the servers that the table no longer has and that have no connections; the others drain. */
export async function removeLeftovers(
  api: RuntimeApi,
  servers: WorkerContents['servers'],
  wanted: Servers,
  signal: AbortSignal,
): Promise<WorkerContents['servers']> {
  const leftover = leftoverServers(servers, wanted).filter(({ admin }) => admin !== 'maint');
  if (leftover.length === 0) return servers;
  const backends = new Set(leftover.map(({ backend }) => backend));
  const stats = await api.ask(
    [...backends].map((backend) => `show stat ${backend} 4 -1`),
    signal,
  );
  const busy = new Set(
    stats
      .flatMap(parseStat)
      .filter(({ connections }) => connections > 0)
      .map(idOf),
  );
  // A server can be deleted only in maintenance; one with connections drains instead, because it is still checked then.
  const idle = leftover.filter((server) => !busy.has(idOf(server)));
  const attempts = idle.map(idOf).flatMap((id) => [`set server ${id} state maint`, `del server ${id}`]);
  const answers = await api.ask(attempts, signal);
  // It got a connection just now. One that a server of a spare backend has followed stays in maintenance until a reload.
  const refused = idle.filter((_, index) => {
    const answer = answers[2 * index + 1] ?? '';
    return answer !== 'Server deleted.' && !answer.startsWith('This server cannot be removed at runtime');
  });
  const draining = leftover.filter((server) => busy.has(idOf(server)) && server.admin !== 'drain');
  await api.perform(
    [...draining, ...refused].map((server) => `set server ${idOf(server)} state drain`),
    signal,
  );
  return await readServers(api, signal);
}

/** From this number of changes on it is cheaper to replace the whole map: 2.6 searches a changed key linearly. */
const manyChanges = 200;

/** The keys that HAProxy refuses, with its message. */
async function applyEntries(
  api: RuntimeApi,
  { map, entries }: Pick<WorkerContents, 'map' | 'entries'>,
  changes: readonly EntryChange[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  if (changes.length >= manyChanges && (await api.replaceMap(map, entries.values, signal))) return nothing;
  const refusals = await api.perform(
    changes.map((change) => entryCommand(map, change)),
    signal,
  );
  return new Map(Array.from(refusals, ([index, words]) => [changes[index]?.key ?? '', words]));
}

function entryCommand(map: string, change: EntryChange): string {
  return `${change.do} map ${map} ${change.key}${change.do === 'del' ? '' : ` ${change.value}`}`;
}

/** The commands that add missing servers and set differing ones. */
export function serverUpserts(
  held: WorkerContents['servers'],
  wanted: Servers,
  isChecked: (family: Family) => boolean,
): readonly ServerCommand[] {
  return families.flatMap((family) => {
    const present = held.get(nodesBackend(family));
    return wanted[family].flatMap((server) =>
      serverChanges(present?.get(server.node), server, isChecked(family)).map((command) => ({
        id: serverId(server),
        command,
      })),
    );
  });
}

function serverChanges(present: ServerLine | undefined, server: NodeServer, isChecked: boolean): readonly string[] {
  if (present === undefined) return addNodeServer(server, isChecked);
  const id = serverId(server);
  const commands: string[] = [];
  const address = server.address.text;
  if (present.address !== address || present.port !== 0) commands.push(setAddress(id, { address, port: 0 }, present));
  if (present.weight !== 1) commands.push(`set server ${id} weight 1`);
  if (present.checkPort !== kubeProxyHealthPort) commands.push(`set server ${id} check-port ${kubeProxyHealthPort}`);
  if (present.checkAddress !== undefined && present.checkAddress !== address)
    commands.push(`set server ${id} check-addr ${address}`);
  if (present.admin !== adminOf(server)) commands.push(`set server ${id} state ${adminOf(server)}`);
  if (isChecked && !present.isChecked) commands.push(`enable health ${id}`);
  // No longer checked: the result of the last check must not stay.
  if (!isChecked && present.isChecked) commands.push(`disable health ${id}`, `set server ${id} health up`);
  return commands;
}

/** The servers that the table no longer has. */
export function leftoverServers(held: WorkerContents['servers'], wanted: Servers): readonly ServerLine[] {
  return families.flatMap((family) => {
    const kept = new Set<string>(wanted[family].map(({ node }) => node));
    return [...(held.get(nodesBackend(family))?.values() ?? [])].filter(({ server }) => !kept.has(server));
  });
}

function idOf({ backend, server }: { readonly backend: string; readonly server: string }): string {
  return `${backend}/${server}`;
}
