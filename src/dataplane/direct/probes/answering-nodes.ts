import { isDeepStrictEqual } from 'node:util';
import { makeAlarm } from '../../../async/alarm.ts';
import { type Backoff, makeBackoff, waitLimits } from '../../../async/backoff.ts';
import { makeLatch } from '../../../async/latch.ts';
import { runWhenSet } from '../../../async/run-when-set.ts';
import { makeSubscribers } from '../../../async/subscribers.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Log } from '../../../ports/log.ts';
import type { DirectObstacle, UnequalMtu } from '../../../core/traffic/report.ts';
import type { AnswerProbe, ProbedPath } from './answer-probe.ts';
import type { MtuProbe } from './mtu-probe.ts';

/** A node in one family: `n1 4`. */
type Hop = string;

/** What a probe finds that keeps packets from a node. */
type ProbedObstacle = Extract<DirectObstacle, 'crossing' | UnequalMtu>;

/** As what a node was shown to answer: with another address or MAC it is another machine, or has another device. */
type ShownStation = { readonly address: string; readonly mac: string };

/**
 * The nodes that were shown to answer clients themselves, see {@link AnswerProbe}. Once shown, a node counts as such until it
 * leaves the cluster, has another address or MAC, or an obstacle is found: it is a property of the LAN, and a flow must
 * not lose its node because a Pod is slow.
 */
export type AnsweringNodes = {
  has(hop: Hop): boolean;
  /** The nodes of the cluster, and the address of each: others are forgotten. */
  keep(hops: ReadonlyMap<Hop, string>): void;
  /**
   * A path to each node that can be probed now. Those that are not shown to answer are probed, after growing waits; the others
   * now and then, for obstacles, and when the MTU of the link changes.
   */
  setPaths(paths: ReadonlyMap<Hop, ProbedPath>): void;
  /** Hops that were probed in vain. */
  silent(): ReadonlySet<Hop>;
  /** Hops with an obstacle: `has` is false. */
  obstacles(): ReadonlyMap<Hop, ProbedObstacle>;
  /** Calls `listener` after each change of `has`, `silent` or `obstacles`; returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
  /** Probes and records until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

/** Survives a restart: until a node is shown again, its clients would lose their connections. */
export type AnsweringNodesRecord = {
  /** At the start. */
  readonly known: ReadonlyMap<Hop, ShownStation>;
  write(known: ReadonlyMap<Hop, ShownStation>): Promise<void>;
};

/** kube-proxy and the Pods of a new Service may need a moment. */
const waits = { firstMs: 200, mostMs: 60_000 };
/** A node that answers may get another gateway. */
const againMs = 300_000;
/** Of one hop: a single lost frame says nothing. */
const attemptsToSilence = 3;

type Attempt = { dueMs: number; failures: number; readonly backoff: Backoff };

export function makeAnsweringNodes(deps: {
  readonly probe: AnswerProbe;
  readonly mtuProbe: MtuProbe;
  readonly record: AnsweringNodesRecord;
  readonly clock: Clock;
  readonly log: Log;
}): AnsweringNodes {
  const { probe, mtuProbe, record, clock, log } = deps;
  const { subscribe, tell } = makeSubscribers();
  const due = makeLatch();
  let known: ReadonlyMap<Hop, ShownStation> = record.known;
  let recorded = known;
  let paths: ReadonlyMap<Hop, ProbedPath> = new Map();
  const attempts = new Map<Hop, Attempt>();
  /** When each node that is shown to answer is probed again, monotonic ms. */
  const again = new Map<Hop, number>();
  let obstacles: ReadonlyMap<Hop, ProbedObstacle> = new Map();
  const dueMs = (hop: Hop): number => (known.has(hop) ? again.get(hop) : attempts.get(hop)?.dueMs) ?? 0;

  const probeAll = async (signal: AbortSignal): Promise<void> => {
    const nowMs = clock.monotonic();
    const probed = [...paths].filter(([hop]) => dueMs(hop) <= nowMs);
    if (probed.length === 0) return;
    const those = probed.map(([, path]) => path);
    const [{ answered, crossing }, mtus] = await Promise.all([probe(those, signal), mtuProbe(those, signal)]);
    const next = new Map(obstacles);
    const shown = new Map(known);
    for (const [hop, path] of probed) {
      if ((paths.get(hop) ?? path).nodeMac !== path.nodeMac) continue; // it has changed meanwhile
      const mtu = mtus.get(path) ?? obstacles.get(hop); // silence proves nothing
      const isUnequal = typeof mtu === 'object' && mtu.lan === path.link.mtu;
      const obstacle = crossing.has(path) ? 'crossing' : isUnequal ? mtu : undefined;
      if (obstacle === undefined) next.delete(hop);
      else next.set(hop, obstacle);
      if (obstacle !== undefined) shown.delete(hop);
      else if (answered.has(path)) shown.set(hop, { address: path.nodeAddress.text, mac: path.nodeMac });
    }
    obstacles = next;
    if (!isDeepStrictEqual(shown, known)) known = shown;
    for (const [hop] of probed) {
      if (known.has(hop)) {
        attempts.delete(hop);
        again.set(hop, clock.monotonic() + againMs);
        continue;
      }
      const attempt = attempts.get(hop) ?? { dueMs: 0, failures: 0, backoff: makeBackoff(waits) };
      attempt.failures++;
      attempt.dueMs = clock.monotonic() + attempt.backoff.next();
      attempts.set(hop, attempt);
    }
    tell();
  };

  /** Forgets those of which `isStale`. */
  const forget = (isStale: (hop: Hop, shown: ShownStation) => boolean): void => {
    const kept = new Map([...known].filter(([hop, shown]) => !isStale(hop, shown)));
    if (kept.size === known.size) return;
    known = kept;
    due.set();
    tell();
  };

  return {
    has: (hop) => known.has(hop),
    keep: (hops) => {
      for (const hop of attempts.keys()) if (!hops.has(hop)) attempts.delete(hop);
      for (const hop of again.keys()) if (!hops.has(hop)) again.delete(hop);
      obstacles = new Map([...obstacles].filter(([hop]) => hops.has(hop)));
      forget((hop, { address }) => hops.get(hop) !== address);
    },
    setPaths: (next) => {
      for (const [hop, { link }] of next) {
        const before = paths.get(hop);
        if (before?.link.mtu === link.mtu) continue;
        if (before !== undefined) again.delete(hop);
        // It may have waited for long while there was nothing to probe it with.
        const attempt = attempts.get(hop);
        if (attempt !== undefined) attempt.dueMs = Math.min(attempt.dueMs, clock.monotonic() + waits.firstMs);
        due.set();
      }
      paths = next;
      forget((hop, { mac }) => (paths.get(hop)?.nodeMac ?? mac) !== mac);
    },
    silent: () =>
      new Set([...attempts].filter(([, { failures }]) => failures >= attemptsToSilence).map(([hop]) => hop)),
    obstacles: () => obstacles,
    subscribe,
    run: async (signal) => {
      const alarm = makeAlarm({ clock, signal, ring: () => due.set() });
      await runWhenSet({
        what: 'probing which nodes answer clients themselves',
        due,
        work: async () => {
          await probeAll(signal);
          for (const hop of paths.keys()) alarm.setAt(dueMs(hop));
          if (known === recorded) return;
          const written = known;
          await record.write(written);
          recorded = written;
        },
        retry: waitLimits.patient,
        clock,
        log,
        signal,
      });
    },
  };
}
