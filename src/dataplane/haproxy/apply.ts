import type { Family } from '../../core/ip/ip.ts';
import { parseInfo, parseMap, parseServersState, parseStat, type ServerState } from './answers.ts';
import type { Desired } from './desired.ts';
import { type HeldRows, makeHeldRows, type RowChange } from './held-rows.ts';
import type { Held } from './held.ts';
import { parseIdentity } from './program.ts';
import type { Runtime } from './runtime.ts';
import { leftoverServers, serverUpserts } from './server-changes.ts';

/** Reads what the worker that serves holds. */
export async function readHeld(runtime: Runtime, map: string, signal: AbortSignal): Promise<Held> {
  const [info = '', rows = ''] = await runtime.ask(['show info', `show map ${map}`], signal);
  const process = parseInfo(info);
  return {
    pid: process.pid,
    identity: parseIdentity(process.description),
    rows: makeHeldRows(parseMap(rows)),
    servers: await readServers(runtime, signal),
  };
}

async function readServers(runtime: Runtime, signal: AbortSignal): Promise<Held['servers']> {
  const [answer = ''] = await runtime.ask(['show servers state'], signal);
  const servers = new Map<string, Map<string, ServerState>>();
  for (const state of parseServersState(answer)) {
    const backend = servers.get(state.backend) ?? new Map<string, ServerState>();
    servers.set(state.backend, backend.set(state.server, state));
  }
  return servers;
}

export type ApplyDeps = {
  readonly runtime: Runtime;
  readonly map: string;
  /** Whether HAProxy's own checks decide for a family. */
  readonly isChecked: (family: Family) => boolean;
};

/** What the worker holds after a change, and how many differences it mended. */
export type Applied = { readonly held: Held; readonly changes: number };

/** Adds and sets all that the worker lacks, servers before the rows that lead to them. */
export async function applyUpserts(
  deps: ApplyDeps,
  held: Held,
  desired: Desired,
  signal: AbortSignal,
): Promise<Applied> {
  const { runtime, isChecked } = deps;
  const commands = serverUpserts(held.servers, desired.servers, isChecked);
  await runtime.perform(commands, signal);
  const servers = commands.length === 0 ? held.servers : await readServers(runtime, signal);
  const rows = held.rows.upserts(desired.entries);
  await applyRows(deps, held.rows, rows, signal);
  return { held: { ...held, servers }, changes: commands.length + rows.length };
}

/** Takes away the rows that the table no longer has, then its servers; one that drains already is no difference. */
export async function applyRemovals(
  deps: ApplyDeps,
  held: Held,
  desired: Desired,
  signal: AbortSignal,
): Promise<Applied> {
  const rows = held.rows.prune(desired.entries);
  await applyRows(deps, held.rows, rows, signal);
  const gone = rows.filter((change) => change.do === 'del');
  const counters = gone.map(({ key }) => `clear table services key ${key}`);
  await deps.runtime.ask(counters, signal); // one in use stays: its connections are about to be ended
  const leftover = leftoverServers(held.servers, desired.servers).filter((server) => !server.isOut);
  const servers = await removeLeftovers(deps.runtime, held.servers, desired, signal);
  return { held: { ...held, servers }, changes: rows.length + leftover.length };
}

/** Deletes the servers that the table no longer has and that have no connections left; the others drain. */
export async function removeLeftovers(
  runtime: Runtime,
  servers: Held['servers'],
  desired: Desired,
  signal: AbortSignal,
): Promise<Held['servers']> {
  const leftover = leftoverServers(servers, desired.servers);
  if (leftover.length === 0) return servers;
  const backends = new Set(leftover.map(({ backend }) => backend));
  const stats = await runtime.ask(
    [...backends].map((backend) => `show stat ${backend} 4 -1`),
    signal,
  );
  const busy = new Set(
    stats
      .flatMap(parseStat)
      .filter(({ connections }) => connections > 0)
      .map(({ backend, server }) => `${backend}/${server}`),
  );
  // A server can be deleted in maintenance only; one with connections rather drains, for then it is still checked.
  const idle = leftover.filter(({ id }) => !busy.has(id));
  const attempts = idle.flatMap(({ id }) => [`set server ${id} state maint`, `del server ${id}`]);
  const answers = await runtime.ask(attempts, signal);
  const refused = idle.filter((_, index) => answers[2 * index + 1] !== 'Server deleted.'); // it got a connection just now
  const draining = leftover.filter(({ id, isOut }) => busy.has(id) && !isOut);
  await runtime.perform(
    [...draining, ...refused].map(({ id }) => `set server ${id} state drain`),
    signal,
  );
  return readServers(runtime, signal);
}

/** From so many changes on it is cheaper to replace the whole map: 2.6 looks a key to be changed up from the start. */
const manyChanges = 200;

async function applyRows(
  { runtime, map }: ApplyDeps,
  rows: HeldRows,
  changes: readonly RowChange[],
  signal: AbortSignal,
): Promise<void> {
  if (changes.length >= manyChanges) await runtime.replaceMap(map, rows.values, signal);
  else
    await runtime.perform(
      changes.map((change) => rowCommand(map, change)),
      signal,
    );
}

function rowCommand(map: string, change: RowChange): string {
  return `${change.do} map ${map} ${change.key}${change.do === 'del' ? '' : ` ${change.value}`}`;
}
