import type { Clock, Random } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import { type Attempt, failure, refusal } from './answers.ts';
import type { ClusterConfig } from './config.ts';
import type { KubeError } from './errors.ts';
import type { JsonPatch } from './finalizers.ts';
import type { KubeList } from './object.ts';
import { resourceOf } from './paths.ts';
import { type HttpRequest, makeTransport } from './transport.ts';

export type Query = Readonly<Record<string, string>>;

export type RequestOptions = {
  readonly signal: AbortSignal;
  /** For everything, attempts and waits between them; default 30,000 ms. */
  readonly timeoutMs?: number;
  readonly query?: Query;
};

export type ApplyOptions = RequestOptions & { readonly fieldManager: string; readonly force?: boolean };
export type DeleteOptions = RequestOptions & { readonly uid?: string };

/**
 * Requests to one cluster's API server. `T` is the caller's word for what lives at the path: the server has validated
 * it, nothing is checked again.
 *
 * All throw {@link KubeError}, or the reason of `signal` when that aborts. A 429 is obeyed and tried again within the
 * deadline (the server did nothing yet); a 5xx with Retry-After or a broken connection only where doing it twice is
 * doing it once (get, list, apply). What is left goes to the caller, with `retryAfterMs` where the server named it.
 */
export type KubeClient = {
  get<T>(path: string, options: RequestOptions): Promise<T>;
  /** One page; `query` takes `limit`, `continue`, selectors. */
  list<T>(path: string, options: RequestOptions): Promise<KubeList<T>>;
  create<T>(path: string, body: unknown, options: RequestOptions): Promise<T>;
  /** PUT: with `metadata.resourceVersion` in the body a compare-and-swap (`CONFLICT`). */
  replace<T>(path: string, body: unknown, options: RequestOptions): Promise<T>;
  /** A `test` that fails is `INVALID` (422) without causes. */
  jsonPatch<T>(path: string, patch: JsonPatch, options: RequestOptions): Promise<T>;
  /** Server-side apply; a uid in the body that is not the object's is `INVALID` (the uid cannot be changed). */
  apply<T>(path: string, body: unknown, options: ApplyOptions): Promise<T>;
  /** `uid`: only if it is still that object (`CONFLICT`). */
  delete(path: string, options: DeleteOptions): Promise<void>;
  /** The bytes of a watch: resolves with the headers, then the reader sets the pace and the limits. */
  stream(
    path: string,
    options: { readonly signal: AbortSignal; readonly query: Query },
  ): Promise<AsyncIterable<Uint8Array>>;
  /** Ends all connections and timers: a process that only waits for them may end. */
  close(): Promise<void>;
};

const requestTimeoutMs = 30_000;
const maxAttempts = 5;
const retryBaseMs = 100;
const durationBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30];

type Call = Attempt & Omit<HttpRequest, 'target' | 'isWatch' | 'signal'>;

/** Verbs that do no more the second time: an attempt whose answer was lost may be made again. */
const idempotent = new Set(['get', 'list', 'apply']);

export function makeKubeClient({
  config,
  clock,
  log,
  metrics,
  random,
  userAgent = 'furiwake',
}: {
  readonly config: ClusterConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly random: Random;
  /** Also the field manager of writes that are no apply. */
  readonly userAgent?: string;
}): KubeClient {
  const transport = makeTransport(config, userAgent);
  const counter = metrics.counter('furiwake_api_requests_total', 'Requests to the API server, by HTTP status.', [
    'verb',
    'resource',
    'code',
  ]);
  const durations = metrics.histogram(
    'furiwake_api_request_seconds',
    'Time until the whole answer of the API server was there.',
    durationBuckets,
    ['verb', 'resource'],
  );
  const count = ({ verb, path }: Attempt, code: string): void =>
    counter.add(1, { verb, resource: resourceOf(path), code });

  /** One attempt; every failure but the caller's own abort is a KubeError. */
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
    using deadline = clock.deadline(timeoutMs, signal);
    for (let tries = 1; ; tries += 1) {
      try {
        return await attempt<T>(call, query, deadline.signal);
      } catch (error) {
        signal.throwIfAborted();
        const waitMs = retryDelay(error as KubeError, call.verb, tries) * (1 + random());
        if (clock.monotonic() + waitMs >= endsAt) throw error;
        log.debug({ err: error, waitMs }, 'request is tried again');
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
  ): Call => ({
    verb,
    method,
    path,
    contentType,
    body: JSON.stringify(value),
  });

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
    delete: async (path, { uid, ...options }) => {
      const preconditions = uid === undefined ? {} : { preconditions: { uid } };
      await request(json('delete', 'DELETE', path, preconditions, 'application/json'), options);
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

/** How long to wait before the next attempt, in ms before jitter; for ever where there is to be none. */
function retryDelay({ code, retryAfterMs }: KubeError, verb: string, tries: number): number {
  const never = Number.POSITIVE_INFINITY;
  if (tries >= maxAttempts) return never;
  const backoffMs = Math.max(retryAfterMs ?? 0, retryBaseMs * 2 ** (tries - 1));
  if (code === 'THROTTLED') return backoffMs;
  if (!idempotent.has(verb)) return never;
  if (code === 'SERVER' && retryAfterMs !== undefined) return backoffMs;
  // Once: the server may have closed a kept connection in the moment that we used it.
  return code === 'UNREACHABLE' && tries === 1 ? retryBaseMs / 10 : never;
}

function targetOf(path: string, query: Query): string {
  const text = new URLSearchParams(query).toString();
  return text === '' ? path : `${path}?${text}`;
}
