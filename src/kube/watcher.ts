import type { Clock, Random } from '../ports/clock.ts';
import type { Metrics } from '../ports/metrics.ts';
import { statusError } from './answers.ts';
import type { KubeClient, Query } from './client.ts';
import { isKubeError } from './errors.ts';
import { readLines } from './lines.ts';
import { type KubeObject, objectKey } from './object.ts';
import { resourceOf } from './paths.ts';
import { toWatchError, WatchError, type WatchErrorCode, type WatchEvent } from './watch-event.ts';
import { makeWatchdog } from './watchdog.ts';

/*
 * One state, one request per step, after kube-rs' `watcher`:
 *
 *              ┌────────────── 410: the version is too old ──────────────┐
 *              ▼                                                         │
 *   start ─► stream ── init, initApply…, initDone, then changes ─────► watch ─┐
 *              │                                                       ▲  ▲   │ the server ends it, it breaks,
 *              │ refused (400, 403, 422), or taken for a plain watch   │  └───┘ it is silent: again from the
 *              ▼                                                       │        last version
 *            list ── init, initApply…, a page per request ── initDone ─┘
 */
type State =
  | { readonly phase: 'stream' }
  | { readonly phase: 'list'; readonly continue?: string }
  | { readonly phase: 'watch'; readonly version: string };

/** An event to hand out, and where to go on if nothing more comes. */
type Step<T> = { readonly event?: WatchEvent<T>; readonly resume?: State };

export type WatchOptions<Wire extends KubeObject, T> = {
  readonly client: Pick<KubeClient, 'list' | 'stream'>;
  /** Of the collection; see `resourcePath`. */
  readonly path: string;
  /** The few fields that we keep. Runs once per event; what it throws becomes an `undecodable` event. */
  readonly project: (wire: Wire) => T;
  /** Selectors. */
  readonly query?: Query;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
};

const pageLimit = '500';
/** Length of a watch, on the server's side: random between this and twice this, as client-go. */
const watchSeconds = 300;
const overdueMs = 30_000;
/** Bookmarks come about once a minute, but nobody promises it: silence means reconnect, never list. */
const idleMs = 180_000;
/** A server that takes the request for a plain watch falls silent without the end of the initial events. */
const initialIdleMs = 10_000;
const shortWatchMs = 1_000;
const healthyWatchMs = 120_000;
const backoffBaseMs = 800;
/** Shorter than client-go's 30 s: a process has few watches, and what changed while the server was away waits for them. */
const backoffMaxMs = 5_000;
/** After so many streams in a row that are none, at one version, the version itself is given up. */
const maxProtocolFailures = 3;

/**
 * Lists and watches one collection for ever; ends only when `signal` aborts. Every failure is an `error` item, then
 * it goes on after a jittered exponential backoff, for which Retry-After is a lower bound. The set is listed anew only
 * after a 410.
 */
export async function* watchResource<Wire extends KubeObject, T>(
  options: WatchOptions<Wire, T>,
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const { signal, clock, random, metrics, path } = options;
  const restarts = metrics.counter('furiwake_watch_restarts_total', 'Watches that began again, by reason.', [
    'resource',
    'reason',
  ]);
  const countRestart = (reason: string): void => restarts.add(1, { resource: resourceOf(path), reason });
  let state: State = { phase: 'stream' };
  let failures = 0;
  let lastCode: WatchErrorCode | undefined;
  while (!signal.aborted) {
    const startedAt = clock.monotonic();
    const { phase }: State = state;
    try {
      for await (const { event, resume } of perform(state, options)) {
        if (resume !== undefined) state = resume;
        if (event !== undefined) yield event;
      }
      if (phase !== 'list' && clock.monotonic() - startedAt < shortWatchMs)
        throw new WatchError('ended', 'the server ended the watch as soon as it began');
      if (phase !== 'list') countRestart('renewed');
      failures = 0;
      lastCode = undefined;
    } catch (cause) {
      if (signal.aborted) return;
      if (state.phase === 'stream' && isPlainWatch(cause)) {
        countRestart('fallback');
        state = { phase: 'list' };
        continue;
      }
      const error = toWatchError(cause);
      failures = clock.monotonic() - startedAt > healthyWatchMs ? 1 : failures + 1;
      if (error.code === 'expired' || (error.code === 'protocol' && failures >= maxProtocolFailures))
        state = { phase: 'stream' };
      countRestart(error.code);
      const retryInMs = error.code !== lastCode && comesSeldom(error) ? 0 : retryDelay(error, failures, random);
      lastCode = error.code;
      yield { type: 'error', error, retryInMs };
      await clock.sleep(retryInMs, signal).catch(() => undefined); // rejects only on abort: the loop's condition
    }
  }
}

/** The server cannot stream the initial set: it says so, or sends something else. */
class PlainWatch extends Error {
  override readonly name = 'PlainWatch';
}

function isPlainWatch(cause: unknown): boolean {
  return cause instanceof PlainWatch || isKubeError(cause, 'INVALID', 'FORBIDDEN');
}

/** Answered at once when it is not the second in a row: these come every few minutes at most. */
function comesSeldom({ code }: WatchError): boolean {
  return code === 'expired' || code === 'idle';
}

function retryDelay({ retryAfterMs }: WatchError, failures: number, random: Random): number {
  const backoffMs = Math.min(backoffBaseMs * 2 ** (failures - 1), backoffMaxMs) * (1 + random());
  return Math.max(retryAfterMs ?? 0, backoffMs);
}

function perform<Wire extends KubeObject, T>(state: State, options: WatchOptions<Wire, T>): AsyncGenerator<Step<T>> {
  return state.phase === 'list' ? listPage(state, options) : watch(state, options);
}

/** One page. `init` before the request, so that what was written before `init` is in the set. */
async function* listPage<Wire extends KubeObject, T>(
  { continue: token }: State & { phase: 'list' },
  { client, path, query, signal, project }: WatchOptions<Wire, T>,
): AsyncGenerator<Step<T>> {
  if (token === undefined) yield { event: { type: 'init' } };
  const page = await client.list<Wire>(path, {
    signal,
    query: { ...query, limit: pageLimit, ...(token === undefined ? {} : { continue: token }) },
  });
  for (const wire of page.items) yield { event: decode('initApply', wire, project) };
  const { continue: next, resourceVersion: version } = page.metadata;
  if (next) return yield { resume: { phase: 'list', continue: next } };
  if (!version) throw new WatchError('protocol', 'a list without a resourceVersion');
  yield { event: { type: 'initDone' }, resume: { phase: 'watch', version } };
}

type Line<Wire> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: Wire }
  | { readonly type: 'BOOKMARK'; readonly object: KubeObject }
  | { readonly type: 'ERROR'; readonly object: Parameters<typeof statusError>[0] };

/** One watch: from a version, or with the initial set before it (WatchList, KEP-3157). */
async function* watch<Wire extends KubeObject, T>(
  state: State & { phase: 'stream' | 'watch' },
  { client, path, query, signal, clock, random, project }: WatchOptions<Wire, T>,
): AsyncGenerator<Step<T>> {
  let syncing = state.phase === 'stream';
  if (syncing) yield { event: { type: 'init' } };
  const seconds = Math.round(watchSeconds * (1 + random()));
  using watchdog = makeWatchdog({
    clock,
    signal,
    limitMs: syncing ? initialIdleMs : idleMs,
    maxMs: seconds * 1000 + overdueMs,
    bark: (silentMs) =>
      syncing ? new PlainWatch() : new WatchError('idle', `nothing heard for ${Math.round(silentMs / 1000)} s`),
  });
  try {
    const body = await client.stream(path, {
      signal: watchdog.signal,
      query: {
        ...query,
        watch: 'true',
        allowWatchBookmarks: 'true',
        timeoutSeconds: String(seconds),
        ...(state.phase === 'watch'
          ? { resourceVersion: state.version }
          : { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' }),
      },
    });
    for await (const text of readLines(body)) {
      const line = JSON.parse(text) as Line<Wire>;
      if (line.type === 'ERROR') throw statusError(line.object, { verb: 'watch', path });
      if (line.type === 'BOOKMARK' && syncing) {
        if (line.object.metadata.annotations?.['k8s.io/initial-events-end'] !== 'true') throw new PlainWatch();
        syncing = false;
        yield { event: { type: 'initDone' }, ...resumeAt(line.object) };
      } else {
        const event: WatchEvent<T> =
          line.type === 'BOOKMARK'
            ? { type: 'bookmark' }
            : line.type === 'DELETED'
              ? { type: 'delete', key: keyOf(line.object) }
              : decode(syncing ? 'initApply' : 'apply', line.object, project);
        // Before `initDone` a version is no place to resume from: the set is not whole yet.
        yield syncing ? { event } : { event, ...resumeAt(line.object) };
      }
      watchdog.touch(syncing ? initialIdleMs : idleMs);
    }
  } catch (cause) {
    throw watchdog.signal.aborted ? watchdog.signal.reason : cause;
  }
}

function resumeAt({ metadata: { resourceVersion: version } }: KubeObject): { readonly resume?: State } {
  return version ? { resume: { phase: 'watch', version } } : {};
}

function decode<Wire extends KubeObject, T>(
  type: 'initApply' | 'apply',
  wire: Wire,
  project: (wire: Wire) => T,
): WatchEvent<T> {
  const at = { key: keyOf(wire), version: wire.metadata.resourceVersion ?? '' };
  try {
    return { type, ...at, object: project(wire) };
  } catch (error) {
    return { type: 'undecodable', ...at, error };
  }
}

function keyOf(wire: KubeObject): string {
  if (typeof wire?.metadata?.name !== 'string') throw new WatchError('protocol', 'an object without a name');
  return objectKey(wire.metadata);
}
