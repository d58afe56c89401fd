import type { Family } from '../../core/ip/ip.ts';
import { parseInfo, parseMap, parseServersState, type ServerState } from './answers.ts';
import {
  type Held,
  leftoverServers,
  rowCommand,
  type RowChange,
  rowRemovals,
  rowUpserts,
  serverUpserts,
} from './changes.ts';
import type { Desired } from './desired.ts';
import { RuntimeError } from './errors.ts';
import { type Identity, parseIdentity } from './program.ts';
import type { Runtime } from './runtime.ts';

/** What a worker holds, and which program it runs. */
export type Worker = Held & { readonly identity: Identity | undefined };

/** Reads what the worker that serves holds. */
export async function readWorker(runtime: Runtime, map: string, signal: AbortSignal): Promise<Worker> {
  const [info = ''] = await runtime.ask(['show info'], signal);
  const process = parseInfo(info);
  if (process === undefined) throw new RuntimeError('no process id in "show info"');
  const [rows = ''] = await runtime.ask([`show map ${map}`], signal);
  const servers = await readServers(runtime, signal);
  return { pid: process.pid, identity: parseIdentity(process.description), rows: new Map(parseMap(rows)), servers };
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

/** Adds and sets all that the worker lacks, servers before the rows that lead to them; the number of differences. */
export async function applyUpserts(
  { runtime, map, isChecked }: ApplyDeps,
  worker: Worker,
  desired: Desired,
  signal: AbortSignal,
): Promise<{ readonly worker: Worker; readonly changes: number }> {
  const commands = serverUpserts(worker.servers, desired.servers, isChecked);
  let next = worker;
  if (commands.length > 0) {
    await runtime.perform(commands, signal);
    next = { ...worker, servers: await readServers(runtime, signal) };
  }
  const rows = rowUpserts(worker.rows, desired.rows);
  await applyRows(runtime, map, next, rows, signal);
  return { worker: next, changes: commands.length + rows.length };
}

/**
 * Takes away the rows that the table no longer has, then its servers, as far as they have no connections left; the
 * others drain and are tried again with the next call. The number of differences that nobody had begun to mend.
 */
export async function applyRemovals(
  { runtime, map }: ApplyDeps,
  worker: Worker,
  desired: Desired,
  signal: AbortSignal,
): Promise<{ readonly worker: Worker; readonly changes: number }> {
  const rows = rowRemovals(worker.rows, desired.rows);
  await applyRows(runtime, map, worker, rows, signal);
  const counters = rows.map(({ key }) => `clear table services key ${key}`);
  await runtime.ask(counters, signal); // one in use stays, its connections are about to be ended
  const fresh = leftoverServers(worker.servers, desired.servers).filter((id) => !isOut(worker, id)).length;
  return { worker: await removeLeftovers(runtime, worker, desired, signal), changes: rows.length + fresh };
}

/** Deletes the servers that the table no longer has and that have no connections left; the others drain. */
export async function removeLeftovers(
  runtime: Runtime,
  worker: Worker,
  desired: Desired,
  signal: AbortSignal,
): Promise<Worker> {
  const ids = leftoverServers(worker.servers, desired.servers);
  if (ids.length === 0) return worker;
  // Only a server in maintenance can be deleted; while it has connections it rather drains, for then it is checked.
  const answers = await runtime.ask(
    ids.flatMap((id) => [`set server ${id} state maint`, `del server ${id}`]),
    signal,
  );
  const refused = ids.filter((_, index) => answers[2 * index + 1] !== 'Server deleted.');
  await runtime.perform(
    refused.map((id) => `set server ${id} state drain`),
    signal,
  );
  return { ...worker, servers: await readServers(runtime, signal) };
}

function isOut(worker: Worker, id: string): boolean {
  const [backend = '', name = ''] = id.split('/');
  return worker.servers.get(backend)?.get(name)?.isOut === true;
}

/** Above this share of rows one replacement of the map is cheaper: `set map` and `del map` search it from its start. */
const manyChanges = 200;

async function applyRows(
  runtime: Runtime,
  map: string,
  worker: Worker,
  changes: readonly RowChange[],
  signal: AbortSignal,
): Promise<void> {
  const commands = changes.map((change) => rowCommand(map, change, worker.rows));
  for (const { key, value } of changes) {
    if (value === undefined) worker.rows.delete(key);
    else worker.rows.set(key, value);
  }
  if (commands.length < manyChanges) await runtime.perform(commands, signal);
  else
    await runtime.replaceMap(
      map,
      [...worker.rows].map(([key, value]) => ({ key, value })),
      signal,
    );
}
