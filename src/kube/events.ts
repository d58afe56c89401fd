import type { Clock, Random } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { KubeClient } from './client.ts';
import { isKubeError } from './errors.ts';
import { cutNote, eventBody, type EventFacts, eventName, eventNamespace } from './event-object.ts';
import { microTime } from './lease-object.ts';
import { resourcePath } from './paths.ts';
import { makeTokenBucket } from '../async/token-bucket.ts';

export type EventSender = {
  /** Never waits and never throws: what there is no room for is counted and dropped. */
  record(event: EventFacts): void;
  /** Sends what was recorded, one at a time, until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

/** One Event object, and what of it is still to be sent. */
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
/** As client-go: the same again after so long is a new event. */
const seriesMs = 6 * 60_000;
/** Status writes that come with the same change go first. */
const courtesyMs = 500;
const burst = 25;
const perSecond = 1;
const maxAttempts = 5;
const backoffMs = 2_000;

/**
 * events.k8s.io/v1, in nobody's way: a single sender, at most 25 at once and one a second in the long run.
 *
 * The same again (object, reason, type, note) within six minutes counts up one Event's series; the count is written at
 * 2, 4, 8, …, so that a storm costs a handful of writes. An Event that the cluster does not want (a namespace that
 * is ending or gone) is no error.
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
  /** This process's name, e.g. the host's. */
  readonly reportingInstance: string;
}): EventSender {
  const resource = { apiVersion: 'events.k8s.io/v1', plural: 'events' };
  const dropped = metrics.counter('furiwake_events_dropped_total', 'Events that were not sent, by reason.', ['reason']);
  const bucket = makeTokenBucket({ clock, burst, perSecond });
  const known = new Map<string, Series>(); // least recently seen first
  const queue = new Set<Series>();
  let wake: () => void = () => undefined;

  /** The series that this belongs to: the one that is known, or a new one. */
  const seriesOf = (facts: EventFacts): Series => {
    const key = JSON.stringify([facts.regarding.uid, facts.reason, facts.type, facts.note]);
    const nowMs = clock.now();
    const old = known.get(key);
    const goesOn = old !== undefined && (old.isQueued || nowMs - old.lastMs <= seriesMs);
    const suffix = `${Math.trunc(nowMs).toString(16)}${Math.trunc(random() * 2 ** 32).toString(16)}`;
    const series = goesOn
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

  /** Sends one; failures that may pass are tried a few times, the rest is dropped. */
  const deliver = async (series: Series, signal: AbortSignal): Promise<void> => {
    for (let tries = 1; ; tries += 1) {
      await bucket.take(signal);
      try {
        return await send(series, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (isKubeError(error, 'ALREADY_EXISTS')) return void (series.isCreated = true); // an answer got lost
        if (isUnwanted(error, series.isCreated)) return log.debug({ err: error }, 'event not wanted');
        if (isKubeError(error, 'NOT_FOUND')) {
          series.isCreated = false; // Events live for an hour; this one begins again
          continue;
        }
        const mayPass = isKubeError(error, 'UNREACHABLE', 'TIMEOUT', 'THROTTLED', 'SERVER', 'UNAUTHORIZED');
        if (!mayPass || tries >= maxAttempts) {
          dropped.add(1, { reason: 'failed' });
          return log.warn({ err: error, object: series.facts.regarding.name }, 'event dropped');
        }
        await clock.sleep(Math.max(error.retryAfterMs ?? 0, backoffMs * 2 ** (tries - 1)), signal);
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
      wake();
    },
    run: async (signal) => {
      signal.addEventListener('abort', () => wake(), { once: true });
      while (!signal.aborted) {
        const [series] = queue;
        try {
          if (series === undefined) {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
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

/** Refusals that are nobody's fault: the namespace is ending, or gone. */
function isUnwanted(error: unknown, isCreated: boolean): boolean {
  if (isKubeError(error, 'FORBIDDEN')) return error.causes.some(({ reason }) => reason === 'NamespaceTerminating');
  return isKubeError(error, 'NOT_FOUND') && !isCreated;
}

function isPowerOfTwo(count: number): boolean {
  return Number.isInteger(Math.log2(count));
}
