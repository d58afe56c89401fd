import { conditionTypes } from '../core/model/contract.ts';
import type { Condition } from '../core/model/service.ts';
import type { Gaps } from '../core/traffic/without-endpoints.ts';
import { soonest } from './dropping.ts';
import type { Requeue } from '../kube/queue.ts';

/** A Service without ready endpoints says so after this long: a new one gets its endpoints a moment later. */
export const endpointGraceMs = 5_000;

/**
 * Whether a Service has endpoints for its status (`undefined`: not known), since when it has none, and when that answer changes by
 * time alone. `ready`: the number of ready ones, if it is known. `sinceMs`: since when by the last call, monotonic ms.
 *
 * Until it is certain, the status keeps what its conditions say: a restart changes no status.
 */
export function judgeEndpoints(
  ready: number | undefined,
  conditions: readonly Condition[],
  sinceMs: number | undefined,
  nowMs: number,
): { readonly hasEndpoints: boolean | undefined; readonly sinceMs: number | undefined; readonly later: Requeue } {
  const shown = shownEndpoints(conditions);
  if (ready === undefined) return { hasEndpoints: shown, sinceMs, later: { requeueAfterMs: endpointGraceMs } };
  if (ready > 0) return { hasEndpoints: true, sinceMs: undefined, later: undefined };
  const since = sinceMs ?? nowMs;
  const leftMs = since + endpointGraceMs - nowMs;
  return leftMs > 0 && shown !== false
    ? { hasEndpoints: shown, sinceMs: since, later: { requeueAfterMs: leftMs } }
    : { hasEndpoints: false, sinceMs: since, later: undefined };
}

/**
 * The same for a Service of which only some listeners have endpoints: whether its status names the others. `sinceMs`: since when it has
 * such listeners, by the last call. A status that already calls the Service partly served does not wait.
 */
export function judgeGaps(
  hasGaps: boolean,
  conditions: readonly Condition[],
  sinceMs: number | undefined,
  nowMs: number,
): { readonly areShown: boolean; readonly sinceMs: number | undefined; readonly later: Requeue } {
  if (!hasGaps) return { areShown: false, sinceMs: undefined, later: undefined };
  const since = sinceMs ?? nowMs;
  const leftMs = since + endpointGraceMs - nowMs;
  const isPartly = conditions.some(({ type, reason }) => type === conditionTypes.serving && reason === 'PartlyServing');
  return leftMs > 0 && !isPartly
    ? { areShown: false, sinceMs: since, later: { requeueAfterMs: leftMs } }
    : { areShown: true, sinceMs: since, later: undefined };
}

/** Monotonic ms; since when a Service has no ready endpoint, and since when it has listeners without one, beside others. */
export type Lacking = { readonly emptyMs: number | undefined; readonly gapsMs: number | undefined };

/** The same object for most Services (docs/adr/0021). */
const lackingNothing: Lacking = { emptyMs: undefined, gapsMs: undefined };

/** Both answers. `gaps` of the answer: the listeners without endpoints that the status shows; `undefined` while they are not known. */
export function judgeListeners(
  ready: number | undefined,
  gaps: Gaps,
  conditions: readonly Condition[],
  lacking: Lacking | undefined,
  nowMs: number,
): {
  readonly hasEndpoints: boolean | undefined;
  readonly gaps: Gaps['listeners'] | undefined;
  readonly lacking: Lacking;
  readonly later: Requeue;
} {
  const used = gaps.areAll ? 0 : ready; // none of the ready ones has a port that the Service wants
  const whole = judgeEndpoints(used, conditions, lacking?.emptyMs, nowMs);
  const isEmpty = whole.hasEndpoints === false; // its next gaps are new ones
  const part = judgeGaps(gaps.listeners.length > 0 && !isEmpty, conditions, lacking?.gapsMs, nowMs);
  return {
    hasEndpoints: whole.hasEndpoints,
    gaps: ready === undefined ? undefined : part.areShown || isEmpty ? gaps.listeners : [],
    lacking:
      whole.sinceMs === undefined && part.sinceMs === undefined
        ? lackingNothing
        : { emptyMs: whole.sinceMs, gapsMs: part.sinceMs },
    later: soonest(whole.later, part.later),
  };
}

/** Whether the Service has endpoints as far as its conditions say so. */
function shownEndpoints(conditions: readonly Condition[]): boolean | undefined {
  const serving = conditions.find(({ type }) => type === conditionTypes.serving);
  if (serving?.status === 'True') return true;
  return serving?.reason === 'NoEndpoints' ? false : undefined;
}
