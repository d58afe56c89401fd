import { systemWords } from '../async/error-words.ts';
import { parseJson } from '../core/parse-json.ts';
import type { ServiceKey } from '../core/model/names.ts';
import { type HttpHandler, type Routes, jsonReply, serveHttp } from '../http/server.ts';
import type { Files } from '../ports/files.ts';
import { askSocket } from './ask.ts';
import { type DrainSource, drainRoutes, noServiceReply } from './drain-routes.ts';
import { StartError } from './errors.ts';
import type { HostStatus } from './host-status.ts';
import type { HostView } from './host-view.ts';

export type AdminSource = DrainSource & {
  readonly view: Pick<HostView, 'status'>;
  readonly connections: HttpHandler;
};

/** `GET /status`, `GET /service?name=NS/NAME`, `GET /connections`, `POST /drain` and `POST /undrain`. */
export function adminRoutes(source: AdminSource): Routes {
  const { view } = source;
  return {
    'GET /status': async (_, signal) => jsonReply(await view.status(signal)),
    'GET /service': async (_, signal, query) => {
      const key = (query.get('name') ?? '') as ServiceKey;
      const detail = await view.service(key, signal);
      return typeof detail === 'object' ? jsonReply(detail) : noServiceReply(key, detail, source.otherHolder());
    },
    'GET /connections': source.connections,
    ...drainRoutes(source),
  };
}

/** Serves the admin socket. Throws {@link StartError} as `assertUnserved` does. */
export async function serveAdmin(
  path: string,
  routes: Routes,
  files: Files,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  try {
    return await serveHttp({ path }, routes, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
  }
  await assertUnserved(path, signal);
  await files.remove(path); // left behind by a killed process
  return serveHttp({ path }, routes, signal);
}

/**
 * Throws {@link StartError} if a process has this admin socket, even one that does not answer: the host lock separates
 * instances of one network namespace, but an instance in another one may use the same state directory.
 */
export async function assertUnserved(socketPath: string, signal: AbortSignal): Promise<void> {
  let who: string;
  try {
    const { text } = await askSocket({ socketPath, method: 'GET', path: '/status' }, signal);
    who = `PID ${(JSON.parse(text) as HostStatus).pid}`;
  } catch (error) {
    signal.throwIfAborted();
    if (isUnserved(error)) return;
    who = 'which does not answer';
  }
  throw new StartError(
    `furiwake is already running in another network namespace with this state directory (${who}, ${socketPath}): stop it, or use another --state-dir`,
  );
}

/** No process listens on the socket. */
function isUnserved(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ECONNREFUSED';
}

/**
 * One request to the furiwake of this host: with GET, the answer is JSON. Throws {@link StartError} if none answers, or with the message
 * of its refusal.
 */
export async function askAdmin(
  socketPath: string,
  method: string,
  path: string,
  body: string,
  signal: AbortSignal,
  ask: typeof askSocket = askSocket,
): Promise<string> {
  const { status, text } = await ask({ socketPath, method, path, body }, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw new StartError(noAdminAnswer(socketPath, error, method === 'POST'), { cause: error });
  });
  if (status !== 200) throw new StartError(text.trim());
  if (method === 'GET' && parseJson(text) === undefined)
    throw new StartError(
      `the answer on ${socketPath} is not JSON: another program listens there. Stop it, or name the state directory of furiwake with --state-dir.`,
    );
  return text;
}

/** The message for a request to the admin socket that failed. `isChange`: furiwake changes something when it reads the request. */
export function noAdminAnswer(socketPath: string, error: unknown, isChange = false): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EACCES') return `${socketPath} is only for root: run the command as root`;
  if (isUnserved(error))
    return `furiwake is not running (no ${code === 'ENOENT' ? 'socket' : 'process'} at ${socketPath}). Start it with systemctl start furiwake, or name its state directory with --state-dir. If it runs, its log says why it does not listen there.`;
  const isLate = code?.startsWith('UND_ERR_') === true && code.endsWith('TIMEOUT');
  const later = isLate && isChange ? '; it may still do this when it answers again' : '';
  return `furiwake does not answer on ${socketPath} (${isLate ? 'no answer within five seconds' : socketWords(error)})${later}`;
}

function socketWords(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code?.startsWith('HPE_') === true) return 'the answer is not HTTP';
  return code === 'UND_ERR_SOCKET' ? 'the connection was closed before the answer' : systemWords(error);
}
