import type { DesiredStatus } from './desired.ts';
import { isSameStatus } from './next-write.ts';

/**
 * The memory of a struggle over one Service's status: what we published last, when somebody else changed it, and until
 * when we leave it alone.
 */
export type Contest = {
  readonly published: DesiredStatus | undefined;
  /** Times of foreign writes within the last minute, ms. */
  readonly foreignWritesMs: readonly number[];
  readonly pausedUntilMs: number | undefined;
};

export const noContest: Contest = { published: undefined, foreignWritesMs: [], pausedUntilMs: undefined };

const windowMs = 60_000;
const foreignWritesAllowed = 3;
/** How long we write nothing after the third foreign write. */
export const pauseMs = 600_000;

export type ContestStep = { readonly contest: Contest; readonly action: 'write' | 'repair' | 'giveUp' | 'wait' };

/**
 * Before a status write: is it our own next word (`write`), or does it put back what somebody else changed (`repair`)?
 * The third foreign write within a minute is not repaired (`giveUp`); for ten minutes nothing is (`wait`).
 */
export function beforeWrite(contest: Contest, shown: DesiredStatus, nowMs: number): ContestStep {
  if (contest.pausedUntilMs !== undefined) {
    if (nowMs < contest.pausedUntilMs) return { contest, action: 'wait' };
    return { contest: { ...noContest, published: shown }, action: 'write' };
  }
  if (contest.published === undefined || isSameStatus(contest.published, shown)) return { contest, action: 'write' };
  const foreignWritesMs = [...contest.foreignWritesMs.filter((at) => nowMs - at < windowMs), nowMs];
  if (foreignWritesMs.length < foreignWritesAllowed)
    return { contest: { ...contest, foreignWritesMs }, action: 'repair' };
  return { contest: { ...contest, foreignWritesMs, pausedUntilMs: nowMs + pauseMs }, action: 'giveUp' };
}

/** After a status write was accepted. */
export function afterWrite(contest: Contest, published: DesiredStatus): Contest {
  return { ...contest, published };
}
