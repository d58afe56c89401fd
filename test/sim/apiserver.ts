import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { systemClock } from '../../src/main/node/clock.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { type Access, inProcess, kubeconfigFor, listenOn } from './access.ts';
import { type Faults, makeFaults, type Mishap, refusalOf, type RequestRecord } from './faults.ts';
import type { SimKind, SimObject } from './kinds.ts';
import { makePages } from './pages.ts';
import { expired, notFound, Refusal } from './refusal.ts';
import { type Route, routeOf } from './routes.ts';
import { makeStorage, revisionOf, type Storage } from './storage.ts';
import { seededRandom } from './virtual-clock.ts';
import { openWatch, type WatchStream } from './watch-stream.ts';
import { makeWrites, type Writes } from './writes.ts';

export type SimOptions = {
  /** Of uids; the same seed gives the same ones. */
  readonly seed: number;
  /** Of its timeouts, bookmarks and timestamps; the same as the client's. Default: the machine's. */
  readonly clock?: Clock;
  /** Default 60,000, as in the real one. */
  readonly bookmarkEveryMs?: number;
  readonly extraKinds?: readonly SimKind[];
  /** resourceVersions that cannot be compared; default: decimal integers. */
  readonly hasOpaqueVersions?: boolean;
};

/** A simulated API server, with real HTTP. Kinds are named as in `kind` (`Service`), keys are `namespace/name`. */
export type SimApiServer = AsyncDisposable &
  Pick<Access, 'url' | 'connect'> & {
    readonly seed: number;
    /** A kubeconfig (JSON, which is YAML) for this server, with `token` if given. */
    kubeconfig(token?: string): string;
    /** Creates or replaces, spec and status at once. `manager` owns what it changes of the status. */
    put(kind: string, object: SimObject, manager?: string): SimObject;
    get(kind: string, key: string): SimObject | undefined;
    list(kind: string): readonly SimObject[];
    /** Like DELETE: it stays while it has finalizers. */
    remove(kind: string, key: string): void;
    readonly requests: readonly RequestRecord[];
    readonly faults: Faults;
    /** Running watches. */
    readonly watching: number;
    /** A bookmark on each running watch, now. */
    bookmark(): void;
    /**
     * Saves the present state; the returned function restores etcd from it, with lower revisions, and restarts. It returns the
     * restored revision.
     */
    backup(): () => number;
  };

const defaultWatchSeconds = 1_800;

/** Listens on 127.0.0.1; default: on a free port. */
export async function startSimApiServer({
  port = 0,
  ...options
}: SimOptions & { readonly port?: number }): Promise<SimApiServer> {
  const server = createServer({ keepAliveTimeout: 90_000 });
  return serveCluster(server, await listenOn(server, port), options);
}

/** Without a port: it works in the time of its clock alone. */
export function makeSimApiServer(options: SimOptions): SimApiServer {
  const server = createServer();
  return serveCluster(server, inProcess(server), options);
}

function serveCluster(
  server: Server,
  access: Access,
  { seed, clock = systemClock, bookmarkEveryMs = 60_000, extraKinds = [], hasOpaqueVersions = false }: SimOptions,
): SimApiServer {
  const storage = makeStorage({ random: seededRandom(seed), now: () => clock.now(), extraKinds, hasOpaqueVersions });
  const writes = makeWrites(storage, (service) => faults.admit(service));
  const pages = makePages();
  const watches = new Set<WatchStream>();
  const requests: RequestRecord[] = [];
  const { faults, take } = makeFaults({
    watches,
    resetConnections: access.resetConnections,
    forgetHistory: () => {
      storage.forget();
      pages.forget();
    },
  });

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://sim');
    const route = routeOf(request.method ?? 'GET', url, request.headers['content-type'] ?? '');
    const record = recordOf(route, request.method ?? 'GET', url);
    requests.push(record);
    response.once('close', () => {
      record.status = response.headersSent ? response.statusCode : 0;
      record.isOpen = false;
    });
    const body = await readBody(request);
    try {
      letIn(request, faults);
      const mishap = take(record);
      if (mishap !== undefined && strike(mishap, response)) return;
      if (route?.verb === 'watch') return watch(route, response);
      const answer = route === undefined ? plainAnswer(url) : answerOf(route, body, managerOf(request, url));
      if (mishap === 'lost-answer') response.destroy();
      else sendJson(response, answer.status, answer.json);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { retryAfterSeconds } = error;
      if (retryAfterSeconds !== undefined) response.setHeader('retry-after', String(retryAfterSeconds));
      sendJson(response, error.status, JSON.stringify(error));
    }
  };

  const watch = ({ apiVersion, plural, namespace, query }: Route, response: ServerResponse): void => {
    const kind = kindOf(storage, apiVersion, plural);
    const wantsInitial = query.get('sendInitialEvents') === 'true';
    if (wantsInitial && faults.watchList === 'refused')
      throw new Refusal(
        422,
        'Invalid',
        'sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled',
      );
    const from = revisionToWatch(storage, query.get('resourceVersion'));
    const seconds = Number(query.get('timeoutSeconds') ?? defaultWatchSeconds);
    const stream = openWatch(
      {
        kind,
        namespace,
        from: from === 'expired' ? storage.revision : from,
        marksInitialEnd: wantsInitial && faults.watchList === 'on',
        timeoutMs: seconds * 1000,
      },
      { response, storage, clock, knobs: faults, onClose: () => watches.delete(stream) },
    );
    if (from === 'expired') stream.fail(expired()); // 200 and an ERROR event, as the real one's watch cache
    else watches.add(stream);
  };

  const answerOf = (route: Route, body: unknown, manager: string): Answer => {
    if (route.plural === 'selfsubjectaccessreviews') return created({ ...(body as object), status: { allowed: true } });
    const kind = kindOf(storage, route.apiVersion, route.plural);
    if (route.verb === 'list') {
      const all = (): ReturnType<Parameters<typeof pages.page>[0]['all']> => ({
        stored: storage.list(kind, route.namespace),
        version: storage.versionText(storage.revision),
      });
      return ok(pages.page({ ...kind, all }, Number(route.query.get('limit') ?? 0), route.query.get('continue')));
    }
    return answerWrite(route, kind, { storage, writes, body, manager });
  };

  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    handle(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  server.on('connection', (socket) => faults.isDown && socket.destroy());
  const bookmark = (): void => watches.forEach((stream) => stream.bookmark());
  const closing = new AbortController();
  const bookmarkRegularly = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(bookmarkEveryMs, closing.signal);
      bookmark();
    }
  };
  bookmarkRegularly().catch(() => undefined); // until it is closed

  return {
    url: access.url,
    seed,
    connect: access.connect,
    kubeconfig: (token) => kubeconfigFor(access.url, token),
    put: (kind, object, manager = 'kubectl') => writes.put(storage.kindOf(kind), object, manager).object,
    get: (kind, key) => storage.get(storage.kindOf(kind), key)?.object,
    list: (kind) => storage.list(storage.kindOf(kind)).map(({ object }) => object),
    remove: (kind, key) => void storage.remove(storage.kindOf(kind), key),
    requests,
    faults,
    get watching() {
      return watches.size;
    },
    bookmark,
    backup: () => {
      const restore = storage.backup();
      return () => {
        restore();
        faults.restart();
        return storage.revision;
      };
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      await access.close();
    },
  };
}

type Answer = { readonly status: number; readonly json: string };

function ok(json: string): Answer {
  return { status: 200, json };
}

function created(value: object): Answer {
  return { status: 201, json: JSON.stringify(value) };
}

function answerWrite(
  { verb, namespace, name, subresource, query }: Route,
  kind: SimKind,
  { storage, writes, body, manager }: { storage: Storage; writes: Writes; body: unknown; manager: string },
): Answer {
  if (verb === 'create') return { status: 201, json: writes.create(kind, namespace, body as SimObject).json };
  const key = namespace === undefined ? (name ?? '') : `${namespace}/${name}`;
  const target = { kind, key, subresource };
  switch (verb) {
    case 'get': {
      const stored = storage.get(kind, key);
      if (stored === undefined) throw notFound(`${kind.plural} "${key}"`);
      return ok(stored.json);
    }
    case 'update':
      return ok(writes.replace(target, body as SimObject, manager).json);
    case 'patch':
      return ok(writes.jsonPatch(target, body as Parameters<Writes['jsonPatch']>[1], manager).json);
    case 'apply':
      return ok(writes.apply(target, body as SimObject, manager, query.get('force') === 'true').json);
    case 'delete':
      return ok(
        storage.remove(kind, key, (body as { preconditions?: { uid?: string } } | undefined)?.preconditions).json,
      );
    default:
      throw new Refusal(405, 'MethodNotAllowed', `${verb} is not supported`);
  }
}

function kindOf(storage: Storage, apiVersion: string, plural: string): SimKind {
  const kind = storage.kindOf(plural);
  if (kind.apiVersion !== apiVersion) throw notFound(`${apiVersion} ${plural}`);
  return kind;
}

/** The revision to watch from: `undefined` is the whole set, and forgotten changes are `expired`. */
function revisionToWatch(storage: Storage, version: string | null): number | 'expired' | undefined {
  if (version === null || version === '') return undefined;
  const revision = revisionOf(version);
  return storage.remembers(revision) ? revision : 'expired';
}

function recordOf(route: Route | undefined, method: string, url: URL): RequestRecord {
  const { verb = method.toLowerCase(), plural = '', subresource } = route ?? {};
  const resource = subresource === undefined ? plural : `${plural}/${subresource}`;
  return { verb, resource, path: url.pathname, query: url.searchParams, status: 0, isOpen: true };
}

function letIn(request: IncomingMessage, { tokens }: Faults): void {
  const token = request.headers.authorization?.replace(/^Bearer /, '') ?? '';
  if (tokens !== undefined && !tokens.has(token)) throw refusalOf({ answer: 401 });
}

/** Executes a mishap that needs no work of the server; returns whether it did. */
function strike(mishap: Mishap, response: ServerResponse): boolean {
  switch (mishap) {
    case 'reset':
      response.destroy();
      return true;
    case 'hang':
      return true;
    case 'end-at-once':
      response.writeHead(200).end();
      return true;
    case 'garbage':
      response.writeHead(200).end('no JSON\n');
      return true;
    case 'lost-answer':
      return false;
    default:
      throw refusalOf(mishap);
  }
}

function plainAnswer({ pathname }: URL): Answer {
  if (pathname === '/version') return ok(JSON.stringify({ major: '1', minor: '37', gitVersion: 'v1.37.2' }));
  if (/^\/(?:healthz|livez|readyz)$/.test(pathname)) return ok('"ok"');
  throw notFound(pathname);
}

function managerOf(request: IncomingMessage, url: URL): string {
  return url.searchParams.get('fieldManager') ?? (request.headers['user-agent'] ?? 'unknown').split('/')[0] ?? '';
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += String(chunk);
  return text === '' ? undefined : JSON.parse(text);
}

function sendJson(response: ServerResponse, status: number, json: string): void {
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(json) })
    .end(json);
}
