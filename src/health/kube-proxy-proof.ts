import type { Family } from '../core/ip/ip.ts';
import type { KubeProxyAnswer, SyncEnd } from './kube-proxy-sync.ts';

/*
 * When does the kube-proxy of a node serve a listener? kube-proxy reports the end of its last sync per family, and
 * neither its begin nor its content. The facts, from Kubernetes 1.37.2, pkg/proxy:
 *
 * - A sync applies the changes that had arrived at its begin, and reports only a success, when the kernel has the rules
 *   (`syncProxyRules` in nftables/proxier.go and iptables/proxier.go). So it is a proof only if it *began* after
 *   kube-proxy had received the published status.
 * - At least `minSyncPeriod`, 1 s by default, lies between the end of a sync and the begin of the next; a change that
 *   arrives meanwhile waits no longer (runner/bounded_frequency_runner.go). Exceptions: the first two syncs of a process,
 *   and the repair after a flush of iptables.
 * - The first time that a process reports may be older than its first sync: `SyncLoop` sets it when it starts. Only a
 *   second, different time of the same process is certainly that of a sync.
 * - A change that waits for longer than 60 s, twice `syncPeriod`, makes kube-proxy unhealthy (cmd/kube-proxy/app/server.go).
 *
 *   Service created     published
 *        │ sync 1           │                       sync 2
 *        ├──────┤           │                       ├──────┤ a proof at once, however long it lasted
 *               │◄──────────┼── at least 1 s ──────►│
 *
 *   Service created  published
 *         │ ◄── at least 1 s after the last sync ──►│ sync 1
 *         │          │                              ├──────┤ a proof at once, of both
 *
 *   Service exists      published
 *                           │ sync 1
 *                           ├──────┤◄────── 2 s without another sync ──────►│ sync 1 is a proof
 *
 *   published       found published
 *      │ sync 1           │
 *      ├──────┤           │◄── 5 s without another sync ──►│ a proof: a change never waits for so long
 *
 * So a node is asked before anything is published: only a sync that is known to be at least the second one of its process is
 * certain to be followed by that second.
 *
 * What cannot be seen is assumed: kube-proxy receives a change at most 250 ms after this host; a sync succeeds, and where
 * the proof is not of the first kind, it lasts at most 500 ms; `minSyncPeriod` is at most 1 s; a process that answers has
 * synced after 5 s (it answers only after it has read its Node from the API server). The clock of a node gives only the
 * age of a sync, in the first answer that shows this sync: a time server may set it later.
 */

const minSyncPeriodMs = 1_000;
const lagMs = 250;
const longSyncMs = 500;
/** A sync that waits starts after `minSyncPeriod`, and lasts. The rest is for a change received late. */
const quietMs = 2_000;
/** As `quietMs`, where it is not certain that the last time is that of a sync after the publication. */
const longQuietMs = 5_000;
const firstSyncMs = 5_000;
/** After which a silent node is reported as such, at most. */
const silenceMs = 5_000;
const unhealthyMs = 60_000;
const untimedMs = 3_000;

/** A process of kube-proxy, as its answers on one connection show it. All times are monotonic ms. */
export type ProxyProcess = {
  /** Its first answer since the node is up. */
  readonly sinceMs: number | undefined;
  readonly answeredMs: number;
  /** The node was up for long enough for its first sync. */
  readonly isStarted: boolean;
  readonly isHealthy: boolean;
  readonly syncs: { readonly 4?: SeenSyncs; readonly 6?: SeenSyncs } | undefined;
};

/**
 * The last sync, and the one seen before it. `isPaced`, `wasPaced`: that one is at least the second of its process, so
 * `minSyncPeriod` lies between its end and the next one.
 */
type SeenSyncs = {
  readonly last: SyncEnd;
  readonly isPaced: boolean;
  readonly beforeMs: number | undefined;
  readonly wasPaced: boolean;
};

/** A process after a further answer. */
export function processAfter(known: ProxyProcess | undefined, answer: KubeProxyAnswer): ProxyProcess {
  const before = answer.isSameProcess ? known : undefined;
  const sinceMs = before?.sinceMs ?? answer.sentMs;
  const seen = (family: Family): { readonly [F in Family]?: SeenSyncs } => {
    const end = answer.syncs?.[family];
    const earlier = before?.syncs?.[family];
    if (end === undefined) return {};
    if (earlier?.last.id === end.id) return { [family]: earlier };
    // The other one was that of a sync, not the begin of `SyncLoop`.
    const isPaced = earlier !== undefined && (before?.isStarted === true || earlier.beforeMs !== undefined);
    const seenBefore = { beforeMs: earlier?.last.endMs, wasPaced: earlier?.isPaced === true };
    return { [family]: { last: end, isPaced, ...seenBefore } };
  };
  return {
    sinceMs,
    answeredMs: answer.sentMs,
    isStarted: before?.isStarted === true || answer.sentMs - sinceMs >= firstSyncMs,
    isHealthy: answer.isHealthy,
    syncs: answer.syncs && { ...seen(4), ...seen(6) },
  };
}

/** A process when its node becomes silent: the API server may not reach it either, and not for as long. */
export function processInSilence(process: ProxyProcess, nowMs: number): ProxyProcess {
  const wasStarted = process.sinceMs !== undefined && nowMs - process.sinceMs >= firstSyncMs + silenceMs;
  return { ...process, sinceMs: undefined, isStarted: process.isStarted || wasStarted };
}

/** What a process is shown to serve of one family. Times are monotonic ms, -Infinity: nothing. */
export type ShownServed = {
  /**
   * What it served before the node was silent, it serves again: its rules survived, or its first sync, which takes all
   * Services, has set them.
   */
  readonly hasRules: boolean;
  /** The listeners that this host saw published by then. */
  readonly untilMs: number;
  /** The same of those that were published, and perhaps long before, when this host saw them first. */
  readonly foundUntilMs: number;
};

export const nothingShown: ShownServed = {
  hasRules: false,
  untilMs: Number.NEGATIVE_INFINITY,
  foundUntilMs: Number.NEGATIVE_INFINITY,
};

/** `upMs`: when this host saw the node up, after it had been silent or did not exist; -Infinity: since the start. */
export function shownBy(process: ProxyProcess, family: Family, upMs: number): ShownServed {
  const { sinceMs, answeredMs, isHealthy, isStarted } = process;
  if (sinceMs === undefined || answeredMs < upMs) return nothingShown;
  /** All that was published by then, which the process has received since the node is up. */
  const until = (ms: number): number => (ms >= upMs ? Math.min(ms, answeredMs) : Number.NEGATIVE_INFINITY);
  if (process.syncs === undefined) {
    if (!isHealthy || answeredMs - sinceMs < untimedMs) return nothingShown;
    const untilMs = until(answeredMs - untimedMs);
    return { hasRules: answeredMs - untimedMs >= upMs, untilMs, foundUntilMs: untilMs };
  }
  const syncs = process.syncs[family];
  if (syncs === undefined) return nothingShown;
  const { beforeMs, isPaced, wasPaced } = syncs;
  const lastMs = syncs.last.endMs;
  const proofs = [Number.NEGATIVE_INFINITY];
  let foundUntilMs = Number.NEGATIVE_INFINITY;
  if (beforeMs !== undefined) {
    // The last sync began a second after the other. Where that is not certain, its end counts, too.
    const beganMs = beforeMs + minSyncPeriodMs - lagMs;
    proofs.push(until(wasPaced ? beganMs : Math.min(beganMs, lastMs - lagMs - longSyncMs)));
    if (answeredMs - lastMs >= quietMs) proofs.push(until(lastMs));
  }
  if (isStarted) {
    const enoughMs = isPaced ? quietMs : longQuietMs;
    if (answeredMs - lastMs >= enoughMs) foundUntilMs = until(answeredMs - enoughMs);
    // kube-proxy may have seen the status a moment before this host, or this host may have missed the sync before.
    proofs.push(Math.min(foundUntilMs, lastMs + minSyncPeriodMs));
    if (isHealthy) proofs.push(until(answeredMs - unhealthyMs - lagMs - longSyncMs));
  }
  const untilMs = Math.max(...proofs);
  return { hasRules: beforeMs !== undefined || isStarted, untilMs, foundUntilMs: Math.max(foundUntilMs, untilMs) };
}

/** What was shown to be served at two times. */
export function allShown(a: ShownServed, b: ShownServed): ShownServed {
  return {
    hasRules: a.hasRules || b.hasRules,
    untilMs: Math.max(a.untilMs, b.untilMs),
    foundUntilMs: Math.max(a.foundUntilMs, b.foundUntilMs),
  };
}
