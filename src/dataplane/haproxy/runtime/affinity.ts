import { messageOf } from '../../../async/error-words.ts';
import type { Log } from '../../../ports/log.ts';
import { isAffinityTable } from '../config/spare-sections.ts';
import { parseAffinity, parseServerIds } from './answers.ts';
import type { RuntimeApi } from './client.ts';

/** A client that a worker remembers: its table and key there, and its server. */
export type Remembered = { readonly table: string; readonly key: string; readonly server: string };

/** Carries the servers of clients (`sessionAffinity`) from a worker to the one that takes its place, after a reload or its death. */
export type Affinity = {
  /** Reads those of the worker that serves; `backends`: what its program declares. Clients that come to it later are not carried. */
  read(backends: ReadonlySet<string>, signal: AbortSignal): Promise<readonly Remembered[]>;
  /** The same, of a worker that may die; throws `RuntimeError` if it does not answer. */
  readForDeath(backends: ReadonlySet<string>, signal: AbortSignal): Promise<readonly Remembered[]>;
  /**
   * Gives them to the worker that serves now, as far as it has their tables and servers. A client that it has seen meanwhile keeps the
   * server that it has now.
   */
  write(remembered: readonly Remembered[], backends: ReadonlySet<string>, signal: AbortSignal): Promise<void>;
};

/** A table has as many; a command takes 8 µs, so that the worker is busy for 0.8 s. */
const mostClients = 100_000;
const clientsPerRequest = 10_000;

/** A failure is logged: then the hash of a client's address nearly always chooses the same server again. */
export function makeAffinity({ api, log }: { readonly api: RuntimeApi; readonly log: Log }): Affinity {
  const unlessFailed = async <T>(work: () => Promise<T>, fallback: T, signal: AbortSignal): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      log.warn({}, `the servers of clients with session affinity are not kept: ${messageOf(error)}`);
      return fallback;
    }
  };

  /** By `backend/server`. */
  const idsOf = async (names: ReadonlySet<string>, signal: AbortSignal): Promise<ReadonlyMap<string, number>> => {
    const answers = await api.ask(
      Array.from(names, (name) => `show servers state ${name}`),
      signal,
    );
    return new Map(answers.flatMap(parseServerIds));
  };

  const read = async (backends: ReadonlySet<string>, signal: AbortSignal): Promise<readonly Remembered[]> => {
    const tables = [...backends].filter(isAffinityTable);
    const answers = await api.ask(
      tables.map((table) => `show table ${table}`),
      signal,
    );
    const rows = tables.flatMap((table, index) =>
      parseAffinity(answers[index] ?? '').map((row) => ({ table, ...row, backend: backendOf(row.key) })),
    );
    // A client that has not come since the last reload has only the number of its server.
    const unnamed = new Set(rows.filter(({ server }) => server === undefined).map(({ backend }) => backend));
    const names = new Map(
      Array.from(await idsOf(unnamed, signal), ([id, number]) => [`${id.split('/')[0]} ${number}`, id]),
    );
    return rows.slice(0, mostClients).flatMap(({ table, key, backend, server, number }) => {
      const name = server ?? names.get(`${backend} ${number}`)?.slice(backend.length + 1);
      return name === undefined ? [] : [{ table, key, server: name }];
    });
  };

  const write: Affinity['write'] = async (remembered, backends, signal) => {
    const kept = remembered.filter(({ table, key }) => backends.has(table) && backends.has(backendOf(key)));
    const ids = await idsOf(new Set(kept.map(({ key }) => backendOf(key))), signal);
    const commands = kept.flatMap(({ table, key, server }) => {
      const id = ids.get(`${backendOf(key)}/${server}`);
      return id === undefined ? [] : [`set table ${table} key ${key} data.server_id ${id}`];
    });
    for (let at = 0; at < commands.length; at += clientsPerRequest)
      await api.perform(commands.slice(at, at + clientsPerRequest), signal);
  };

  return {
    readForDeath: read,
    read: (backends, signal) => unlessFailed(() => read(backends, signal), [], signal),
    write: (remembered, backends, signal) => unlessFailed(() => write(remembered, backends, signal), undefined, signal),
  };
}

/** Of a key `address in hexadecimal|backend`. */
function backendOf(key: string): string {
  return key.slice(key.indexOf('|') + 1);
}
