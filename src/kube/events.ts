import { isPowerOfTwo, makeBackoff } from '../async/backoff.ts';
import { makeLatch } from '../async/latch.ts';
import type { KubeClient } from './client.ts';
import { isKubeError, isServerFailure, type KubeError } from './errors.ts';
import { cutNote, eventBody, type EventFacts, eventName, eventNamespace } from './event-object.ts';
import { microTime } from './lease-object.ts';
import { resourcePath } from './paths.ts';
import { makeSharedTrouble } from './shared-trouble.ts';
import { makeTurns } from './turns.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';

export type EventSender = {
  /** Never waits and never throws: when the queue is full, an Event of the namespace with the most is counted and dropped. */
  record(event: EventFacts): void;
  /** Sends the recorded Events, one at a time, until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

/** One Event object, and how often its event happened. */
type Series = {
  readonly facts: EventFacts;
  readonly suffix: string;
  readonly firstMs: number;
  lastMs: number;
  count: number;
  isCreated: boolean;
  isQueued: boolean;
  /** Attempts since the last one that ended well. */
  tries: number;
};

const maxQueued = 1_000;
const maxSeries = 1_024;
/** As in client-go: the same event after this time starts a new series. */
const seriesMs = 6 * 60_000;
/** Status writes for the same change come first. */
const courtesyMs = 500;
const burst = 25;
const perSecond = 1;
const maxAttempts = 5;
const timeoutMs = 5_000;
/** After failures in a row: those that follow wait, too. */
const backoffMs = { firstMs: 2_000, mostMs: 30_000 };

/**
 * Sends Events (events.k8s.io/v1): one sender, bursts of at most 25, then one per second. Namespaces take turns: a thousand Events of
 * one, or a webhook there that does not answer, cost the others a few seconds; after many failures in a row half a minute, once.
 *
 * A repetition (same object, reason, type and note) within six minutes increases the count of one Event's series; the
 * count is written at 2, 4, 8, …, so that a storm causes only a few writes. An Event that the cluster refuses because
 * its namespace is being deleted is dropped silently.
 */
export function makeEventSender({
  client,
  clock,
  random,
  log,
  metrics,
  reportingController,
  reportingInstance,
}: {
  readonly client: Pick<KubeClient, 'create' | 'jsonPatch'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** A qualified name: `furiwake.dev/controller`. */
  readonly reportingController: string;
  /** The name of this process, e.g. that of the host. */
  readonly reportingInstance: string;
}): EventSender {
  const resource = { apiVersion: 'events.k8s.io/v1', plural: 'events' };
  const dropped = metrics.counter('furiwake_events_dropped_total', 'Events that were not sent, by reason.', ['reason']);
  const bucket = makeTokenBucket(clock);
  const known = new Map<string, Series>(); // least recently seen first
  const queue = makeTurns<Series>(({ facts }) => eventNamespace(facts.regarding));
  const work = makeLatch();
  /** By namespace. */
  const trouble = makeSharedTrouble<string>({ what: 'sending Events', clock, log });

  /** The series of this event: the known one, or a new one. */
  const seriesOf = (facts: EventFacts): Series => {
    const key = JSON.stringify([facts.regarding.uid, facts.reason, facts.type, facts.note]);
    const nowMs = clock.now();
    const old = known.get(key);
    const isContinued = old !== undefined && (old.isQueued || nowMs - old.lastMs <= seriesMs);
    const suffix = `${Math.trunc(nowMs).toString(16)}${Math.trunc(random() * 2 ** 32).toString(16)}`;
    const series = isContinued
      ? old
      : { facts, suffix, firstMs: nowMs, lastMs: nowMs, count: 0, isCreated: false, isQueued: false, tries: 0 };
    known.delete(key);
    known.set(key, series);
    const [oldest] = known.keys();
    if (known.size > maxSeries && oldest !== undefined) known.delete(oldest);
    return series;
  };

  const send = async (series: Series, signal: AbortSignal): Promise<void> => {
    const { facts, suffix, firstMs, lastMs, count } = series;
    const namespace = eventNamespace(facts.regarding);
    const soFar = { count, lastObservedTime: microTime(lastMs) };
    if (series.isCreated) {
      const path = resourcePath(resource, { namespace, name: eventName(facts.regarding.name, suffix) });
      await client.jsonPatch(path, [{ op: 'add', path: '/series', value: soFar }], { signal, timeoutMs });
      return;
    }
    const body = eventBody(facts, { suffix, nowMs: firstMs, reportingController, reportingInstance });
    await client.create(resourcePath(resource, { namespace }), count > 1 ? { ...body, series: soFar } : body, {
      signal,
      timeoutMs,
    });
    series.isCreated = true;
  };

  const enqueue = (series: Series): void => {
    if (series.isQueued) return;
    series.isQueued = true;
    queue.add(series);
  };

  /** One attempt. After a transient failure it has another one, when other namespaces have had their turn, and the error is returned. */
  const deliver = async (series: Series, signal: AbortSignal): Promise<KubeError | undefined> => {
    const namespace = eventNamespace(series.facts.regarding);
    const tries = (series.tries += 1);
    try {
      await send(series, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (isKubeError(error, 'NOT_FOUND') && series.isCreated) {
        series.isCreated = false; // Events live for an hour: create it again
        enqueue(series);
        return undefined;
      }
      if (isUnwanted(error)) log.debug({ err: error }, 'event refused: its namespace is being deleted');
      else if (isServerFailure(error) && tries < maxAttempts) {
        enqueue(series);
        return error;
      } else if (!isKubeError(error, 'ALREADY_EXISTS')) {
        dropped.add(1, { reason: 'failed' });
        series.tries = 0;
        trouble.failed(namespace, error);
        return undefined;
      } else series.isCreated = true; // the answer was lost
    }
    series.tries = 0;
    trouble.over(namespace);
    return undefined;
  };

  return {
    record: (facts) => {
      const series = seriesOf({ ...facts, note: cutNote(facts.note) });
      series.count += 1;
      series.lastMs = clock.now();
      if (series.isQueued || !isPowerOfTwo(series.count)) return;
      enqueue(series);
      work.set();
      if (queue.size() <= maxQueued) return;
      const excess = queue.takeFromLargest();
      if (excess !== undefined) excess.isQueued = false;
      dropped.add(1, { reason: 'queue-full' });
    },
    run: async (signal) => {
      const backoff = makeBackoff({ ...backoffMs, random });
      while (!signal.aborted) {
        const series = queue.take();
        try {
          if (series === undefined) {
            await work.wait(signal);
            await clock.sleep(courtesyMs, signal);
            continue;
          }
          series.isQueued = false;
          await bucket.take(signal);
          const error = await deliver(series, signal);
          if (error === undefined) backoff.reset();
          else await clock.sleep(Math.max(error.retryAfterMs ?? 0, backoff.next()), signal);
        } catch (error) {
          if (!signal.aborted) throw error;
        }
      }
    },
  };
}

/** The namespace is being deleted, or no longer exists. */
function isUnwanted(error: unknown): boolean {
  if (isKubeError(error, 'FORBIDDEN')) return error.causes.some(({ reason }) => reason === 'NamespaceTerminating');
  return isKubeError(error, 'NOT_FOUND');
}

/** Allows `burst` at once and `perSecond` in the long run. `take` resolves when a token is free, in any order of callers. */
function makeTokenBucket(clock: Clock): { take(signal: AbortSignal): Promise<void> } {
  let tokens = burst;
  let countedAt = clock.monotonic();
  return {
    take: async (signal) => {
      const now = clock.monotonic();
      tokens = Math.min(burst, tokens + ((now - countedAt) / 1000) * perSecond);
      countedAt = now;
      tokens -= 1; // may be negative: waiting callers have reserved tokens
      if (tokens < 0) await clock.sleep((-tokens / perSecond) * 1000, signal);
    },
  };
}
