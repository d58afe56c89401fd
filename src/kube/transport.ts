import { Socket } from 'node:net';
import { Agent, buildConnector, type Dispatcher } from 'undici';
import { unlessAborted } from '../async/abort.ts';
import { destroyOnAbort } from '../async/destroy-on-abort.ts';
import { fieldManager } from '../core/model/contract.ts';
import type { ClusterConfig } from './config.ts';
import type { Credentials } from './credentials.ts';
import { type Connector, makeOpenConnections, type OpenConnections } from './open-connections.ts';

export type HttpRequest = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path and query, relative to the server's prefix. */
  readonly target: string;
  readonly contentType?: string;
  readonly body?: string;
  /** A watch uses a separate connection, and its body may be silent for as long as its reader allows. */
  readonly isWatch: boolean;
  readonly signal: AbortSignal;
};

export type HttpAnswer = Pick<Dispatcher.ResponseData, 'statusCode' | 'headers' | 'body'>;

/** HTTP to one cluster, with the current credentials. */
export type Transport = {
  /**
   * Sends the request, and repeats it once with new credentials after a 401. Throws the errors of undici and of the
   * credentials.
   */
  send(request: HttpRequest): Promise<HttpAnswer>;
  /** Closes all connections and the source of the credentials; requests in flight fail. */
  close(): Promise<void>;
};

/**
 * More than the writes to Services under way at once, 32 at most (src/controller/assemble.ts): a webhook that answers none of them
 * delays neither the Lease nor anything else. Opened as they are needed.
 */
const requestConnections = 40;
const headersTimeoutMs = 30_000;
/**
 * Below the 90 s after which the API server closes an idle connection, so that no request uses a closing connection.
 */
const idleConnectionMs = 60_000;

type Agents = { readonly requests: Agent; readonly watches: Agent; readonly identity: Credentials };

/**
 * One pair of agents per TLS identity: a changed client certificate or CA gets a new pair, and the old one closes after
 * its last answer. HTTP/1.1, because HTTP/2 does not detect a dead peer (TCP keep-alive detected a half-open watch
 * after 20 s, HTTP/2 not within 100 s).
 *
 * `connect`: default TCP, and TLS as `config` says. `connections` follows them.
 */
export function makeTransport(
  config: ClusterConfig,
  connect?: Connector,
  connections: OpenConnections = makeOpenConnections(),
): Transport {
  const { origin, pathname } = new URL(config.server);
  const prefix = pathname === '/' ? '' : pathname;
  let agents: Agents | undefined;
  const end = new AbortController();

  const agentsFor = (identity: Credentials): Agents => {
    if (agents !== undefined && isSamePeer(agents.identity, identity)) return agents;
    const old = agents;
    const dial = connect ?? endedWith(buildConnector(dialOptions(config, identity)), end.signal);
    agents = { identity, ...makeAgents(connections.follow(dial)) };
    void old?.requests.close().catch(() => undefined); // a connection that fails while closing is closed anyway
    void old?.watches.close().catch(() => undefined);
    return agents;
  };

  const once = (request: HttpRequest, credentials: Credentials): Promise<HttpAnswer> => {
    const { requests, watches } = agentsFor(credentials);
    const answer = (request.isWatch ? watches : requests).request({
      origin,
      path: prefix + request.target,
      method: request.method,
      headers: {
        accept: 'application/json',
        'user-agent': fieldManager, // Kubernetes derives the field manager of all writes except `apply` from it
        ...(credentials.token === undefined ? {} : { authorization: `Bearer ${credentials.token}` }),
        ...(request.contentType === undefined ? {} : { 'content-type': request.contentType }),
      },
      body: request.body ?? null,
      signal: request.signal,
      headersTimeout: headersTimeoutMs,
      bodyTimeout: request.isWatch ? 0 : headersTimeoutMs,
    });
    // undici checks the signal only once it has a connection: a server that is silent would outlast any deadline.
    return unlessAborted(answer, request.signal);
  };

  return {
    send: async (request) => {
      const credentials = await config.credentials.current(request.signal);
      const answer = await once(request, credentials);
      if (answer.statusCode !== 401) return answer;
      const fresh = await config.credentials.refresh(credentials, request.signal);
      if (isSame(fresh, credentials)) return answer;
      await answer.body.dump();
      return once(request, fresh);
    },
    close: async () => {
      end.abort();
      config.credentials.close();
      await Promise.all([agents?.requests.destroy(), agents?.watches.destroy()]);
    },
  };
}

/** `end` also destroys sockets that are still connecting, which undici leaves alone. */
function endedWith(connector: Connector, end: AbortSignal): Connector {
  return (options, callback) => {
    const socket: unknown = connector(options, callback); // its type does not say what it returns
    if (socket instanceof Socket) destroyOnAbort(socket, end);
  };
}

function dialOptions({ tls }: ClusterConfig, { ca, cert, key }: Credentials): buildConnector.BuildOptions {
  return {
    allowH2: false,
    timeout: 10_000,
    keepAlive: true,
    keepAliveInitialDelay: 10_000,
    rejectUnauthorized: !tls.insecure,
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

function makeAgents(connect: Connector): Omit<Agents, 'identity'> {
  const common: Agent.Options = { allowH2: false, pipelining: 1, keepAliveTimeout: idleConnectionMs, connect };
  return { requests: new Agent({ ...common, connections: requestConnections }), watches: new Agent(common) };
}

function isSame(a: Credentials, b: Credentials): boolean {
  return a.token === b.token && isSamePeer(a, b);
}

function isSamePeer(a: Credentials, b: Credentials): boolean {
  return a.ca === b.ca && a.cert === b.cert && a.key === b.key;
}
