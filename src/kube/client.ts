import { type Backoff, makeBackoff } from '../async/backoff.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import { type RequestLine, failure, refusal } from './answers.ts';
import type { ClusterConfig } from './config.ts';
import type { KubeError } from './errors.ts';
import type { JsonPatch } from './write-bodies.ts';
import type { KubeList } from './object.ts';
import { resourceOf } from './paths.ts';
import type { Connector, OpenConnections } from './open-connections.ts';
import { type HttpRequest, makeTransport } from './transport.ts';

export type Query = Readonly<Record<string, string>>;

export type RequestOptions = {
  readonly signal: AbortSignal;
  /** For all attempts and the waits between them; default 30,000 ms. */
  readonly timeoutMs?: number;
  readonly query?: Query;
};

export type ApplyOptions = RequestOptions & { readonly fieldManager: string; readonly force?: boolean };

/**
 * Requests to one cluster's API server. `T` is the type that the caller expects at the path: the server has validated
 * the object, so it is not checked again.
 *
 * All throw {@link KubeError}, or the reason of `signal` when that aborts. A 429 is retried within the deadline (the
 * server has done nothing yet); a 5xx with Retry-After or a broken connection only for idempotent verbs (get, list,
 * apply). The caller gets all other failures, with `retryAfterMs` if the server sent Retry-After.
 */
export type KubeClient = {
  get<T>(path: string, options: RequestOptions): Promise<T>;
  /** One page; `query` takes `limit`, `continue`, selectors. */
  list<T>(path: string, options: RequestOptions): Promise<KubeList<T>>;
  create<T>(path: string, body: unknown, options: RequestOptions): Promise<T>;
  /** PUT: with `metadata.resourceVersion` in the body a compare-and-swap (`CONFLICT`). */
  replace<T>(path: string, body: unknown, options: RequestOptions): Promise<T>;
  /** A `test` operation that fails is `INVALID` (422) without causes. */
  jsonPatch<T>(path: string, patch: JsonPatch, options: RequestOptions): Promise<T>;
  /** Server-side apply; a uid in the body that is not the object's is `INVALID` (the uid cannot be changed). */
  apply<T>(path: string, body: unknown, options: ApplyOptions): Promise<T>;
  delete(path: string, options: RequestOptions): Promise<void>;
  /** The bytes of a watch: resolves with the headers; after that the reader controls pace and deadlines. */
  stream(
    path: string,
    options: { readonly signal: AbortSignal; readonly query: Query },
  ): Promise<AsyncIterable<Uint8Array>>;
  /** Closes all connections; requests in flight fail. */
  close(): Promise<void>;
};

const requestTimeoutMs = 30_000;
const maxAttempts = 5;
/** All attempts of one request wait for less than three seconds: the caller repeats it at a pace of its own. */
const backoffMs = { firstMs: 100, mostMs: 1_600 };
/** The server closed an idle connection at the moment of its use; another one is available at once. */
const reconnectMs = 10;
const durationBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30];

type Call = RequestLine & Omit<HttpRequest, 'target' | 'isWatch' | 'signal'>;

/** A repetition has no further effect, so an attempt whose answer was lost may be repeated. */
const idempotent = new Set(['get', 'list', 'apply']);

export function makeKubeClient({
  config,
  clock,
  log,
  metrics,
  random,
  connect,
  connections,
}: {
  readonly config: ClusterConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly random: Random;
  /** How connections are opened; default: TCP, and TLS as `config` says. */
  readonly connect?: Connector | undefined;
  /** Follows the connections. */
  readonly connections?: OpenConnections;
}): KubeClient {
  const transport = makeTransport(config, connect, connections);
  const counter = metrics.counter('furiwake_api_requests_total', 'Requests to the API server, by HTTP status.', [
    'verb',
    'resource',
    'code',
  ]);
  const durations = metrics.histogram(
    'furiwake_api_request_seconds',
    'Time until the complete answer of the API server had arrived.',
    durationBuckets,
    ['verb', 'resource'],
  );
  const count = ({ verb, path }: RequestLine, code: string): void =>
    counter.add(1, { verb, resource: resourceOf(path), code });

  /** One attempt; every failure except the caller's own abort is a KubeError. */
  const attempt = async <T>(call: Call, query: Query, signal: AbortSignal): Promise<T> => {
    const startedAt = clock.monotonic();
    let code = 'error';
    try {
      const answer = await transport.send({ ...call, target: targetOf(call.path, query), isWatch: false, signal });
      code = String(answer.statusCode);
      if (answer.statusCode >= 300) throw await refusal(answer, call);
      return (await answer.body.json()) as T;
    } catch (error) {
      throw failure(error, call);
    } finally {
      count(call, code);
      durations.observe((clock.monotonic() - startedAt) / 1000, { verb: call.verb, resource: resourceOf(call.path) });
    }
  };

  const request = async <T>(
    call: Call,
    { signal, timeoutMs = requestTimeoutMs, query = {} }: RequestOptions,
  ): Promise<T> => {
    signal.throwIfAborted();
    const endsAt = clock.monotonic() + timeoutMs;
    const backoff = makeBackoff({ ...backoffMs, random });
    using deadline = clock.deadline(timeoutMs, signal);
    for (let tries = 1; ; tries += 1) {
      try {
        return await attempt<T>(call, query, deadline.signal);
      } catch (error) {
        signal.throwIfAborted();
        const waitMs = retryDelay(error as KubeError, call.verb, tries, backoff);
        if (clock.monotonic() + waitMs >= endsAt) throw error;
        log.debug({ err: error, waitMs }, 'request failed; retrying');
        await clock.sleep(waitMs, signal);
      }
    }
  };

  const json = (
    verb: string,
    method: HttpRequest['method'],
    path: string,
    value: unknown,
    contentType: string,
  ): Call => ({ verb, method, path, contentType, body: JSON.stringify(value) });

  return {
    get: (path, options) => request({ verb: 'get', method: 'GET', path }, options),
    list: (path, options) => request({ verb: 'list', method: 'GET', path }, options),
    create: (path, body, options) => request(json('create', 'POST', path, body, 'application/json'), options),
    replace: (path, body, options) => request(json('update', 'PUT', path, body, 'application/json'), options),
    jsonPatch: (path, patch, options) =>
      request(json('patch', 'PATCH', path, patch, 'application/json-patch+json'), options),
    apply: (path, body, { fieldManager, force = false, ...options }) =>
      request(json('apply', 'PATCH', path, body, 'application/apply-patch+yaml'), {
        ...options,
        query: { ...options.query, fieldManager, force: String(force) },
      }),
    delete: async (path, options) => {
      await request({ verb: 'delete', method: 'DELETE', path }, options);
    },
    stream: async (path, { signal, query }) => {
      const call: Call = { verb: 'watch', method: 'GET', path };
      let code = 'error';
      try {
        const answer = await transport.send({ ...call, target: targetOf(path, query), isWatch: true, signal });
        code = String(answer.statusCode);
        if (answer.statusCode !== 200) throw await refusal(answer, call);
        return answer.body;
      } catch (error) {
        throw failure(error, call);
      } finally {
        count(call, code);
      }
    },
    close: () => transport.close(),
  };
}

/** The wait before the next attempt, in ms; infinite if there must be none. */
function retryDelay({ code, retryAfterMs }: KubeError, verb: string, tries: number, backoff: Backoff): number {
  if (tries >= maxAttempts) return Number.POSITIVE_INFINITY;
  const isRepeatable = idempotent.has(verb);
  if (code === 'THROTTLED' || (isRepeatable && code === 'SERVER' && retryAfterMs !== undefined))
    return Math.max(retryAfterMs ?? 0, backoff.next());
  return isRepeatable && code === 'UNREACHABLE' && tries === 1 ? reconnectMs : Number.POSITIVE_INFINITY;
}

function targetOf(path: string, query: Query): string {
  const text = new URLSearchParams(query).toString();
  return text === '' ? path : `${path}?${text}`;
}
