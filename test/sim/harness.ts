import { makeTrouble } from '../../src/async/trouble.ts';
import { type KubeClient, makeKubeClient } from '../../src/kube/client.ts';
import { loadKubeConfig } from '../../src/kube/config.ts';
import { feedStore, makeStore, type Store } from '../../src/kube/store.ts';
import { type KubeObject, objectKey } from '../../src/kube/object.ts';
import { resourcePath } from '../../src/kube/paths.ts';
import type { WatchEvent } from '../../src/kube/watch-event.ts';
import { watchResource } from '../../src/kube/watcher.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { type Exec, ExecError } from '../../src/ports/exec.ts';
import type { Files } from '../../src/ports/files.ts';
import type { SimApiServer } from './apiserver.ts';
import { breathe } from './event-loop.ts';
import { type LogLine, recordLog, type RecordedMetrics, recordMetrics } from './observers.ts';
import { seededRandom } from './virtual-clock.ts';

/** The fields of a Service in the tests: enough to see a change, and one that can be unreadable. */
export type Kept = { readonly key: string; readonly uid: string; readonly type: string; readonly note: string };

/** A client and watched Services, connected as in the program. */
export type Harness = AsyncDisposable & {
  readonly client: KubeClient;
  readonly services: Store<Kept>;
  /** Every event of the watch, in order. */
  readonly events: readonly WatchEvent<Kept>[];
  readonly metrics: RecordedMetrics;
  readonly log: readonly LogLine[];
  readonly signal: AbortSignal;
  /** Starts to watch the Services. */
  watch(): void;
  /** Resolves when no request of this client is running, and no answer leads to another one. Watches do not count. */
  settled(): Promise<void>;
};

/** No program is installed. */
export const noPrograms: Exec = {
  run: (file) => Promise.reject(new ExecError(file, undefined, 'not found')),
  spawn: () => {
    throw new Error('there are no programs here');
  },
};

/** Files that live in a Map, and the folder `/state`. Keep to the contract of their port (test/contract/files.ts). */
export function filesOf(texts: Map<string, string>): Files {
  /** Of folders that were made, and of files that are not only for their owner. */
  const modes = new Map<string, number>();
  const folders = new Set(['/', '/state']);
  const below = (folder: string): readonly string[] =>
    [...texts.keys(), ...folders].flatMap((path) =>
      path.startsWith(`${folder}/`) ? [path.slice(folder.length + 1)] : [],
    );
  const isFolder = (path: string): boolean => folders.has(path) || below(path).length > 0;
  const failIf = (isTrue: boolean, code: string, path: string): void => {
    if (isTrue) throw Object.assign(new Error(`${code}: ${path}`), { code });
  };
  const parentOf = (path: string): string => path.slice(0, path.lastIndexOf('/')) || '/';
  return {
    read: async (path) => {
      failIf(isFolder(path), 'EISDIR', path);
      return texts.get(path);
    },
    readStart: async (path, bytes) => {
      failIf(isFolder(path), 'EISDIR', path);
      return texts.get(path)?.slice(0, bytes);
    },
    write: async (path, text, mode = 0o600) => {
      failIf(isFolder(path), 'EISDIR', path);
      failIf(!isFolder(parentOf(path)), 'ENOENT', path);
      texts.set(path, text);
      modes.set(path, mode);
    },
    sync: async (path) => failIf(!texts.has(path), 'ENOENT', path),
    append: async (path, text) => {
      failIf(isFolder(path), 'EISDIR', path);
      failIf(!texts.has(path), 'ENOENT', path);
      texts.set(path, (texts.get(path) ?? '') + text);
    },
    exists: async (path) => texts.has(path) || isFolder(path),
    stat: async (path) =>
      texts.has(path)
        ? { isFolder: false, uid: 0, mode: modes.get(path) ?? 0o600 }
        : isFolder(path)
          ? { isFolder: true, uid: 0, mode: modes.get(path) ?? 0o700 }
          : undefined,
    list: async (folder) => {
      failIf(texts.has(folder), 'ENOTDIR', folder);
      return [...new Set(below(folder).map((path) => path.split('/', 1)[0] ?? ''))].sort();
    },
    remove: async (path) => {
      for (const each of [...texts.keys(), ...folders])
        if (each === path || each.startsWith(`${path}/`))
          for (const entries of [texts, folders, modes]) entries.delete(each);
    },
    makeFolder: async (path, mode = 0o700) => {
      failIf(texts.has(path), 'EEXIST', path);
      const missing: string[] = [];
      for (let folder = path; !isFolder(folder); folder = parentOf(folder)) {
        failIf(texts.has(parentOf(folder)), 'ENOTDIR', path);
        missing.push(folder);
      }
      for (const folder of missing) modes.set(folder, mode);
      for (const folder of [path, ...missing]) folders.add(folder);
    },
  };
}

/** The client of the kubeconfig `/config` in these files. */
export async function connect({
  files,
  ...deps
}: { readonly files: Map<string, string> } & Omit<
  Parameters<typeof makeKubeClient>[0],
  'config'
>): Promise<KubeClient> {
  const { clock, log } = deps;
  const config = await loadKubeConfig({
    log,
    kubeconfig: '/config',
    env: {},
    homeFolder: '/root',
    files: filesOf(files),
    exec: noPrograms,
    clock,
  });
  return makeKubeClient({ config, ...deps });
}

export async function makeHarness(
  server: SimApiServer,
  {
    clock,
    kubeconfig = server.kubeconfig(),
    files = new Map(),
  }: { clock: Clock; kubeconfig?: string; files?: Map<string, string> },
): Promise<Harness> {
  files.set('/config', kubeconfig);
  const log = recordLog();
  const metrics = recordMetrics();
  const random = seededRandom(server.seed + 1);
  const { client, underWay } = counted(await connect({ files, clock, log, metrics, random, connect: server.connect }));
  const services = makeStore<Kept>({ keyOf: ({ key }) => key });
  const stop = new AbortController();
  const events: WatchEvent<Kept>[] = [];
  let watching: Promise<void> = Promise.resolve();

  async function* recorded(): AsyncGenerator<WatchEvent<Kept>> {
    const path = resourcePath({ apiVersion: 'v1', plural: 'services' });
    for await (const event of watchResource({
      client,
      path,
      project: projectKept,
      newestAnswer: services.newestAnswer,
      signal: stop.signal,
      clock,
      random,
      metrics,
    })) {
      events.push(event);
      yield event;
    }
  }

  return {
    client,
    services,
    events,
    metrics,
    log: log.lines,
    signal: stop.signal,
    watch: () => {
      watching = feedStore(services, recorded(), {
        what: 'watching services',
        trouble: makeTrouble({ what: 'watching services', log, clock }),
        log,
      });
    },
    settled: async () => {
      for (let quiet = 0; quiet < 5; quiet = underWay() === 0 ? quiet + 1 : 0) await breathe();
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await watching;
      await client.close();
    },
  };
}

/** The client, and the number of its running requests. */
function counted(client: KubeClient): { readonly client: KubeClient; readonly underWay: () => number } {
  let underWay = 0;
  const count = (value: unknown): unknown =>
    typeof value === 'function'
      ? async (...args: readonly unknown[]): Promise<unknown> => {
          underWay += 1;
          try {
            return await (Reflect.apply(value, client, args) as Promise<unknown>);
          } finally {
            underWay -= 1;
          }
        }
      : value;
  const proxy = new Proxy(client, { get: (target, name) => count(Reflect.get(target, name)) });
  return { client: proxy, underWay: () => underWay };
}

type WireService = KubeObject & { readonly spec?: { readonly type?: string } };

/** Throws for a Service with the annotation `unreadable`, like a faulty projection. */
export function projectKept({ metadata, spec }: WireService): Kept {
  if (metadata.annotations?.['unreadable'] !== undefined) throw new Error('unreadable');
  return {
    key: objectKey(metadata),
    uid: metadata.uid ?? '',
    type: spec?.type ?? '',
    note: metadata.annotations?.['note'] ?? '',
  };
}

/** The expected contents of a harness's store, according to the server. */
export function truth(server: SimApiServer): ReadonlyMap<string, Kept> {
  return new Map(server.list('Service').map((object) => [objectKey(object.metadata), projectKept(object)]));
}

/** A Service as a user writes it; `note` identifies the write. */
export function service(
  name: string,
  note = '',
  rest: Readonly<Record<string, string>> = {},
): Parameters<SimApiServer['put']>[1] {
  return {
    metadata: { namespace: 'default', name, annotations: { note, ...rest } },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
  };
}

/** Resolves when the condition holds: for data from real sockets, without sleeping. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await breathe();
}
