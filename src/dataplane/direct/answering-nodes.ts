import { makeAlarm } from '../../async/alarm.ts';
import { type Backoff, makeBackoff } from '../../async/backoff.ts';
import { makeLatch } from '../../async/latch.ts';
import { runWhenSet } from '../../async/run-when-set.ts';
import { makeSubscribers } from '../../async/subscribers.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { AnswerProbe, ProbedPath } from './answer-probe.ts';

/** A node in one family: `n1 4`. */
type Hop = string;

/**
 * The nodes that were shown to answer clients themselves, see {@link AnswerProbe}. Once shown, a node counts as such until it
 * leaves the cluster: it is a property of the LAN, and a flow must not lose its node because a Pod is slow.
 */
export type AnsweringNodes = {
  has(hop: Hop): boolean;
  /** The nodes of the cluster: others are forgotten. */
  keep(hops: ReadonlySet<Hop>): void;
  /** A path to each node that can be probed now. Those that are not shown to answer are probed, after growing waits. */
  setPaths(paths: ReadonlyMap<Hop, ProbedPath>): void;
  /** Hops that were probed in vain. */
  silent(): ReadonlySet<Hop>;
  /** Calls `listener` after each change of `has` or `silent`; returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
  /** Probes and records until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

/** Survives a restart: until a node is shown again, its clients would lose their connections. */
export type AnsweringNodesRecord = {
  /** At the start. */
  readonly known: ReadonlySet<Hop>;
  write(hops: ReadonlySet<Hop>): Promise<void>;
};

/** kube-proxy and the Pods of a new Service may need a moment. */
const waits = { firstMs: 200, mostMs: 60_000 };
/** Of one hop: a single lost frame says nothing. */
const attemptsToSilence = 3;

type Attempt = { dueMs: number; failures: number; readonly backoff: Backoff };

export function makeAnsweringNodes(deps: {
  readonly probe: AnswerProbe;
  readonly record: AnsweringNodesRecord;
  readonly clock: Clock;
  readonly log: Log;
}): AnsweringNodes {
  const { probe, record, clock, log } = deps;
  const { subscribe, tell } = makeSubscribers();
  const due = makeLatch();
  let known: ReadonlySet<Hop> = record.known;
  let recorded = known;
  let paths: ReadonlyMap<Hop, ProbedPath> = new Map();
  const attempts = new Map<Hop, Attempt>();

  const probeAll = async (signal: AbortSignal): Promise<void> => {
    const nowMs = clock.monotonic();
    const probed = [...paths].filter(([hop]) => !known.has(hop) && (attempts.get(hop)?.dueMs ?? nowMs) <= nowMs);
    if (probed.length === 0) return;
    const answered = await probe(
      probed.map(([, path]) => path),
      signal,
    );
    for (const [hop, path] of probed) {
      if (answered.has(path)) {
        known = new Set([...known, hop]);
        attempts.delete(hop);
        continue;
      }
      const attempt = attempts.get(hop) ?? { dueMs: 0, failures: 0, backoff: makeBackoff(waits) };
      attempt.failures++;
      attempt.dueMs = clock.monotonic() + attempt.backoff.next();
      attempts.set(hop, attempt);
    }
    tell();
  };

  return {
    has: (hop) => known.has(hop),
    keep: (hops) => {
      for (const hop of attempts.keys()) if (!hops.has(hop)) attempts.delete(hop);
      const kept = [...known].filter((hop) => hops.has(hop));
      if (kept.length < known.size) known = new Set(kept);
      if (known !== recorded) due.set();
    },
    setPaths: (next) => {
      for (const hop of next.keys()) {
        if (known.has(hop) || paths.has(hop)) continue;
        // It may have waited for long while there was nothing to probe it with.
        const attempt = attempts.get(hop);
        if (attempt !== undefined) attempt.dueMs = Math.min(attempt.dueMs, clock.monotonic() + waits.firstMs);
        due.set();
      }
      paths = next;
    },
    silent: () =>
      new Set([...attempts].filter(([, { failures }]) => failures >= attemptsToSilence).map(([hop]) => hop)),
    subscribe,
    run: async (signal) => {
      const alarm = makeAlarm({ clock, signal, ring: () => due.set() });
      await runWhenSet({
        what: 'probing which nodes answer clients themselves',
        due,
        work: async () => {
          await probeAll(signal);
          for (const hop of paths.keys()) {
            const attempt = attempts.get(hop);
            if (attempt !== undefined) alarm.setAt(attempt.dueMs);
          }
          if (known === recorded) return;
          const written = known;
          await record.write(written);
          recorded = written;
        },
        retry: { firstMs: 1_000, mostMs: 60_000 },
        clock,
        log,
        signal,
      });
    },
  };
}
