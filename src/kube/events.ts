import { makeBackoff } from '../async/backoff.ts';
import { makeLatch } from '../async/latch.ts';
import type { KubeClient } from './client.ts';
import { isKubeError, isServerFailure } from './errors.ts';
import { cutNote, eventBody, type EventFacts, eventName, eventNamespace } from './event-object.ts';
import { microTime } from './lease-object.ts';
import { resourcePath } from './paths.ts';
import { makeSharedTrouble } from './shared-trouble.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';

export type EventSender = {
  /** Never waits and never throws: when the queue is full, the Event is counted and dropped. */
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
/** All attempts of one Event wait for less than a minute: those that follow it wait, too. */
const backoffMs = { firstMs: 2_000, mostMs: 30_000 };

/**
 * Sends Events (events.k8s.io/v1): one sender, bursts of at most 25, then one per second.
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
  const queue = new Set<Series>();
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
      : { facts, suffix, firstMs: nowMs, lastMs: nowMs, count: 0, isCreated: false, isQueued: false };
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
      await client.jsonPatch(path, [{ op: 'add', path: '/series', value: soFar }], { signal });
      return;
    }
    const body = eventBody(facts, { suffix, nowMs: firstMs, reportingController, reportingInstance });
    await client.create(resourcePath(resource, { namespace }), count > 1 ? { ...body, series: soFar } : body, {
      signal,
    });
    series.isCreated = true;
  };

  /** Sends one; transient failures are retried a few times, all others drop it. */
  const deliver = async (series: Series, signal: AbortSignal): Promise<void> => {
    const namespace = eventNamespace(series.facts.regarding);
    const backoff = makeBackoff({ ...backoffMs, random });
    for (let tries = 1; ; tries += 1) {
      await bucket.take(signal);
      try {
        await send(series, signal);
        return trouble.over(namespace);
      } catch (error) {
        signal.throwIfAborted();
        if (isKubeError(error, 'ALREADY_EXISTS')) {
          series.isCreated = true; // the answer was lost
          return trouble.over(namespace);
        }
        if (isUnwanted(error, series.isCreated)) {
          log.debug({ err: error }, 'event refused: its namespace is being deleted');
          return trouble.over(namespace);
        }
        if (isKubeError(error, 'NOT_FOUND')) {
          series.isCreated = false; // Events live for an hour: create it again
          continue;
        }
        if (!isServerFailure(error) || tries >= maxAttempts) {
          dropped.add(1, { reason: 'failed' });
          return trouble.failed(namespace, error);
        }
        await clock.sleep(Math.max(error.retryAfterMs ?? 0, backoff.next()), signal);
      }
    }
  };

  return {
    record: (facts) => {
      const series = seriesOf({ ...facts, note: cutNote(facts.note) });
      series.count += 1;
      series.lastMs = clock.now();
      if (series.isQueued || !isPowerOfTwo(series.count)) return;
      if (queue.size >= maxQueued) return dropped.add(1, { reason: 'queue-full' });
      series.isQueued = true;
      queue.add(series);
      work.set();
    },
    run: async (signal) => {
      while (!signal.aborted) {
        const [series] = queue;
        try {
          if (series === undefined) {
            await work.wait(signal);
            await clock.sleep(courtesyMs, signal);
            continue;
          }
          queue.delete(series);
          series.isQueued = false;
          await deliver(series, signal);
        } catch (error) {
          if (!signal.aborted) throw error;
        }
      }
    },
  };
}

/** The namespace is being deleted, or no longer exists. */
function isUnwanted(error: unknown, isCreated: boolean): boolean {
  if (isKubeError(error, 'FORBIDDEN')) return error.causes.some(({ reason }) => reason === 'NamespaceTerminating');
  return isKubeError(error, 'NOT_FOUND') && !isCreated;
}

function isPowerOfTwo(count: number): boolean {
  return Number.isInteger(Math.log2(count));
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
