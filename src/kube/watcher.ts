import { type Backoff, makeBackoff } from '../async/backoff.ts';
import { makeWatchdog } from '../async/watchdog.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Metrics } from '../ports/metrics.ts';
import { statusError } from './answers.ts';
import type { KubeClient } from './client.ts';
import { isKubeError } from './errors.ts';
import { readLines } from './lines.ts';
import { type KubeObject, objectKey } from './object.ts';
import { makeOlderSets } from './older-sets.ts';
import { resourceOf } from './paths.ts';
import { isNewer } from './resource-version.ts';
import { toWatchError, WatchError, type WatchErrorCode, type WatchEvent } from './watch-event.ts';

/*
 * One state, one request per step, after kube-rs' `watcher`:
 *
 *              ┌── 410: the version is too old; an answer is newer ──────┐
 *              ▼                                                         │
 *   stream ── init, initApply…, initDone, then changes ───────────────► watch ─┐
 *     │                                                                ▲  ▲    │ the server ends it, it breaks,
 *     │ the server does not support WatchList:                         │  └────┘ it is silent: resume from the
 *     │ it refuses (400, 422) or answers with a plain watch            │         last version
 *     ▼                                                                │
 *   list ── init, initApply…, one page per request ── initDone ────────┘
 *
 * A server that is only slow gets no list request: that would increase its load.
 */
type WatchState =
  | { readonly phase: 'stream' }
  | { readonly phase: 'list'; readonly continue?: string }
  | { readonly phase: 'watch'; readonly version: string };

/** An event to deliver, and the version to resume from if none follows. */
type WatchStep<T> = { readonly event?: WatchEvent<T>; readonly resume?: WatchState };

export type WatchOptions<Wire extends KubeObject, T> = {
  readonly client: Pick<KubeClient, 'list' | 'stream'>;
  /** Of the collection; see `resourcePath`. */
  readonly path: string;
  /** Returns the few fields that are kept. Runs once per event; if it throws, the event becomes `undecodable`. */
  readonly project: (wire: Wire) => T;
  /**
   * Version of the newest write whose answer the reader used before its event arrived. A watch that ended before that
   * version is not resumed; it starts again with all objects: if etcd was restored from a backup, the write may be lost,
   * and no event would report it.
   */
  readonly newestAnswer: () => string;
  /** The API server has accepted a watch. */
  readonly onAccepted?: () => void;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
};

const pageLimit = '500';
/** Duration of a watch, for the server: random between this and twice this, as in client-go. */
const watchSeconds = 300;
const overdueMs = 30_000;
/**
 * Bookmarks arrive about once a minute, although the API does not guarantee it: silence leads to a new connection,
 * never to a list.
 */
const idleMs = 180_000;
/** During the initial events. Longer than the minute after which the first bookmark reveals a plain watch. */
const initialIdleMs = 90_000;
const shortWatchMs = 1_000;
const healthyWatchMs = 120_000;
/**
 * At most 5 s, not client-go's 30 s: a process has few watches, and changes made while the server was unreachable wait
 * for them.
 */
const backoffMs = { firstMs: 1_000, mostMs: 5_000 };
/**
 * After this many such failures in a row all objects are listed again. A watch that is silent again after it was
 * resumed may wait for a version that does not exist: the API server does not refuse a version that is newer than all
 * of its own (etcd restored from a backup, kubernetes/kubernetes#107457).
 */
const mostInARow: Partial<Record<WatchErrorCode, number>> = { expired: 1, idle: 2, protocol: 3 };

/**
 * Lists and watches one collection; ends only when `signal` aborts. Every failure is an `error` item, followed by
 * another attempt after growing waits, for which Retry-After is a lower bound. It lists all objects again only after a
 * 410, after repeated silence or unreadable streams, or if an answer is newer than the watch that ended.
 */
export async function* watchResource<Wire extends KubeObject, T>(
  options: WatchOptions<Wire, T>,
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const { signal, clock, random, metrics, path, newestAnswer } = options;
  const restarts = metrics.counter('furiwake_watch_restarts_total', 'Restarted watches, by reason.', [
    'resource',
    'reason',
  ]);
  const countRestart = (reason: string): void => restarts.add(1, { resource: resourceOf(path), reason });
  const backoff = makeBackoff({ ...backoffMs, random });
  const older = makeOlderSets(() => clock.monotonic());
  let state: WatchState = { phase: 'stream' };
  let inARow = 0;
  let lastCode: WatchErrorCode | undefined;
  let lastPhase: WatchState['phase'] | undefined;
  while (!signal.aborted) {
    const startedAt = clock.monotonic();
    // Not directly after a list: steady writes would lead to one list after another.
    if (state.phase === 'watch' && lastPhase !== 'list' && isNewer(newestAnswer(), state.version)) {
      countRestart('unconfirmed');
      state = { phase: 'stream' };
    }
    const { phase }: WatchState = state;
    lastPhase = phase;
    try {
      for await (const { event, resume } of perform(state, options)) {
        if (event?.type === 'initDone') older.check(event.version);
        if (resume?.phase === 'watch') older.note(resume.version);
        if (resume !== undefined) state = resume;
        if (event !== undefined) yield event;
      }
      if (phase !== 'list' && clock.monotonic() - startedAt < shortWatchMs)
        throw new WatchError('ended', 'the API server ended the watch as soon as it began');
      if (phase === 'list') continue; // the failure before it may come from the watch after it
      countRestart('renewed');
      backoff.reset();
      lastCode = undefined;
    } catch (cause) {
      if (signal.aborted) return;
      if (state.phase === 'stream' && lacksWatchList(cause)) {
        countRestart('fallback');
        state = { phase: 'list' };
        continue;
      }
      const error = toWatchError(cause);
      if (clock.monotonic() - startedAt > healthyWatchMs) backoff.reset();
      inARow = error.code === lastCode ? inARow + 1 : 1;
      if (inARow >= (mostInARow[error.code] ?? Number.POSITIVE_INFINITY)) state = { phase: 'stream' };
      if (error.code === 'outdated' && state.phase === 'list') state = { phase: 'list' }; // from the first page
      countRestart(error.code);
      const retryInMs = inARow === 1 && isRare(error) ? 0 : retryDelay(error, backoff);
      lastCode = error.code;
      yield { type: 'error', error, retryInMs };
      await clock.sleep(retryInMs, signal).catch(() => undefined); // rejects only on abort: the loop's condition
    }
  }
}

/** The server answered with a watch that does not mark the end of the initial events. */
class PlainWatch extends Error {
  override readonly name = 'PlainWatch';
}

/** Kubernetes refuses `sendInitialEvents` with 422 if the feature gate WatchList is off. */
function lacksWatchList(cause: unknown): boolean {
  return cause instanceof PlainWatch || isKubeError(cause, 'INVALID');
}

/** The first of these is retried at once: they occur every few minutes at most. */
function isRare({ code }: WatchError): boolean {
  return code === 'expired' || code === 'idle';
}

function retryDelay({ retryAfterMs }: WatchError, backoff: Backoff): number {
  return Math.max(retryAfterMs ?? 0, backoff.next());
}

function perform<Wire extends KubeObject, T>(
  state: WatchState,
  options: WatchOptions<Wire, T>,
): AsyncGenerator<WatchStep<T>> {
  return state.phase === 'list' ? listPage(state, options) : watch(state, options);
}

/** One page. `init` before the request, so that the set contains all that was written before `init`. */
async function* listPage<Wire extends KubeObject, T>(
  { continue: token }: WatchState & { phase: 'list' },
  { client, path, signal, project }: WatchOptions<Wire, T>,
): AsyncGenerator<WatchStep<T>> {
  if (token === undefined) yield { event: { type: 'init' } };
  const page = await client.list<Wire>(path, {
    signal,
    query: { limit: pageLimit, ...(token === undefined ? {} : { continue: token }) },
  });
  for (const wire of page.items) yield { event: decode('initApply', wire, project) };
  const { continue: next } = page.metadata;
  if (next) return yield { resume: { phase: 'list', continue: next } };
  const version = versionOf(page);
  yield { event: { type: 'initDone', version }, resume: { phase: 'watch', version } };
}

type WireEvent<Wire> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: Wire }
  | { readonly type: 'BOOKMARK'; readonly object: KubeObject }
  | { readonly type: 'ERROR'; readonly object: Parameters<typeof statusError>[0] };

/** One watch: from a version, or with the initial set before it (WatchList, KEP-3157). */
async function* watch<Wire extends KubeObject, T>(
  state: WatchState & { phase: 'stream' | 'watch' },
  { client, path, signal, clock, random, project, onAccepted }: WatchOptions<Wire, T>,
): AsyncGenerator<WatchStep<T>> {
  let syncing = state.phase === 'stream';
  if (syncing) yield { event: { type: 'init' } };
  const seconds = Math.round(watchSeconds * (1 + random()));
  using watchdog = makeWatchdog({
    clock,
    signal,
    limitMs: syncing ? initialIdleMs : idleMs,
    maxMs: seconds * 1000 + overdueMs,
    onSilence: (silentMs) => new WatchError('idle', `nothing received for ${Math.round(silentMs / 1000)} s`),
  });
  try {
    const body = await client.stream(path, {
      signal: watchdog.signal,
      query: {
        watch: 'true',
        allowWatchBookmarks: 'true',
        timeoutSeconds: String(seconds),
        ...(state.phase === 'watch'
          ? { resourceVersion: state.version }
          : { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' }),
      },
    });
    onAccepted?.();
    for await (const text of readLines(body)) {
      const line = JSON.parse(text) as WireEvent<Wire>;
      if (line.type === 'ERROR') throw statusError(line.object, { verb: 'watch', path });
      if (line.type === 'BOOKMARK' && syncing) {
        if (line.object.metadata.annotations?.['k8s.io/initial-events-end'] !== 'true') throw new PlainWatch();
        syncing = false;
        const version = versionOf(line.object);
        yield { event: { type: 'initDone', version }, resume: { phase: 'watch', version } };
      } else {
        const event = eventOf(line, syncing ? 'initApply' : 'apply', project);
        // Before `initDone` there is no version to resume from: the set is not complete yet.
        yield syncing ? { event } : { event, ...resumeAt(line.object) };
      }
      watchdog.touch(syncing ? initialIdleMs : idleMs);
    }
  } catch (cause) {
    throw watchdog.signal.aborted ? watchdog.signal.reason : cause;
  }
}

function resumeAt({ metadata: { resourceVersion: version } }: KubeObject): { readonly resume?: WatchState } {
  return version ? { resume: { phase: 'watch', version } } : {};
}

/** Of a list or a bookmark: without a version there is no starting point for a watch. */
function versionOf({ metadata }: { readonly metadata: { readonly resourceVersion?: string } }): string {
  if (!metadata.resourceVersion) throw new WatchError('protocol', 'a full set without a resourceVersion');
  return metadata.resourceVersion;
}

function eventOf<Wire extends KubeObject, T>(
  line: Exclude<WireEvent<Wire>, { type: 'ERROR' }>,
  type: 'initApply' | 'apply',
  project: (wire: Wire) => T,
): WatchEvent<T> {
  switch (line.type) {
    case 'BOOKMARK':
      return { type: 'bookmark' };
    case 'DELETED':
      return { type: 'delete', key: keyOf(line.object), version: line.object.metadata.resourceVersion ?? '' };
    case 'ADDED':
    case 'MODIFIED':
      return decode(type, line.object, project);
    default:
      throw new WatchError('protocol', 'a watch event of an unknown type');
  }
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
