import type { NodeName, ServiceKey } from '../core/model/names.ts';
import { type NodeState, nodeStateWords, takesConnections } from '../core/status/node-states.ts';
import type { Drains } from '../daemon/drains.ts';
import { type HttpReply, type Routes, jsonReply, serveHttp, textReply } from '../http/server.ts';
import { quote } from '../core/addresses/request.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { askSocket } from './ask.ts';
import { StartError } from './errors.ts';
import type { HostStatus } from './host-status.ts';
import type { HostView } from './host-view.ts';

export type AdminSource = {
  readonly view: Pick<HostView, 'status' | 'service'>;
  readonly drains: Drains;
  /** All nodes; `undefined` while they are not known. */
  readonly nodes: () => ReadonlyMap<NodeName, NodeState> | undefined;
  readonly log: Log;
};

/** `GET /status`, `GET /service?name=NS/NAME`, `POST /drain` and `POST /undrain` (the body is a node's name). */
export function adminRoutes({ view, drains, nodes, log }: AdminSource): Routes {
  const refusalOf = (node: NodeName): HttpReply | undefined => {
    const known = nodes();
    if (known === undefined) return textReply(503, `The nodes are not known yet. ${tryAgain}\n`);
    if (known.has(node)) return undefined;
    const some = [...known.keys()].sort().slice(0, mostShown).join(', ');
    const rest = known.size > mostShown ? ` and ${known.size - mostShown} more` : '';
    return textReply(404, `node ${quote(node)} not found. Nodes: ${some || 'none'}${rest}\n`);
  };
  return {
    'GET /status': async (_, signal) => jsonReply(await view.status(signal)),
    'GET /service': async (_, signal, query) => {
      const name = query.get('name') ?? '';
      const detail = await view.service(name as ServiceKey, signal);
      if (detail === 'unknown') return textReply(503, `The Services are not known yet. ${tryAgain}\n`);
      if (detail !== undefined) return jsonReply(detail);
      return textReply(
        404,
        `Service ${quote(name)} not found: there is none, or it is not of type LoadBalancer, or it is of another class or namespace\n`,
      );
    },
    'POST /drain': async (body) => {
      const node = body.trim() as NodeName;
      const refusal = refusalOf(node);
      if (refusal !== undefined) return refusal;
      await drains.set(node, true);
      log.info({ node, drained: [...drains.current()] }, 'node drained: no new connections');
      const states = withDrains(nodes() ?? new Map(), drains);
      if ([...states.values()].some(takesConnections)) return textReply(200, `node/${node} drained\n`);
      const trouble = `no node takes new connections: ${nodeStateWords(states)}`;
      log.warn({ node }, trouble);
      return textReply(200, `node/${node} drained\nWarning: ${trouble}.\n`);
    },
    'POST /undrain': async (body) => {
      const node = body.trim() as NodeName;
      if (!drains.current().has(node)) return refusalOf(node) ?? textReply(200, `node/${node} is not drained\n`);
      await drains.set(node, false); // a removed node may also be undrained
      log.info({ node, drained: [...drains.current()] }, 'node undrained');
      return textReply(200, `node/${node} accepts connections again\n`);
    },
  };
}

const mostShown = 20;
const tryAgain = 'Try again when `furiwake status` says ready.';

/** The states once the controller has followed the drains. */
function withDrains(states: ReadonlyMap<NodeName, NodeState>, drains: Drains): ReadonlyMap<NodeName, NodeState> {
  return new Map(
    Array.from(states, ([name, state]) => [
      name,
      drains.current().has(name) && state !== 'excluded' && state !== 'without address' ? 'drained' : state,
    ]),
  );
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
 * One request to the furiwake of this host. Throws {@link StartError} if none answers, or with the message of its
 * refusal.
 */
export async function askAdmin(
  socketPath: string,
  method: string,
  path: string,
  body: string,
  signal: AbortSignal,
): Promise<string> {
  const { status, text } = await askSocket({ socketPath, method, path, body }, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw new StartError(noAdminAnswer(socketPath, error), { cause: error });
  });
  if (status !== 200) throw new StartError(text.trim());
  return text;
}

/** The message for a request to the admin socket that failed. */
export function noAdminAnswer(socketPath: string, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EACCES') return `${socketPath} is only for root: run the command as root`;
  if (isUnserved(error))
    return `furiwake is not running (no ${code === 'ENOENT' ? 'socket' : 'process'} at ${socketPath}). Start it with systemctl start furiwake, or name its state directory with --state-dir.`;
  return `furiwake does not answer on ${socketPath} (${message})`;
}
