import type { Service, ServiceSpec } from '../model/service.ts';
import type { DesiredStatus } from './desired.ts';
import { isSameStatus } from './next-write.ts';

/**
 * What is remembered of other clients that change one Service's status: what we published last, when it was changed,
 * and until when we leave it alone.
 */
export type StatusConflict = {
  readonly published: DesiredStatus | undefined;
  /** Times of foreign writes within the last minute, ms. */
  readonly foreignWritesMs: readonly number[];
  readonly pausedUntilMs: number | undefined;
  /** The spec for which status updates pause: a change of it by the user ends the pause. */
  readonly pausedFor: ServiceSpec | undefined;
};

export const noConflict: StatusConflict = {
  published: undefined,
  foreignWritesMs: [],
  pausedUntilMs: undefined,
  pausedFor: undefined,
};

const windowMs = 60_000;
const foreignWritesAllowed = 3;
/** How long nothing is written after the third foreign write. */
export const pauseMs = 600_000;

export type ConflictStep = {
  readonly conflict: StatusConflict;
  readonly action: 'write' | 'repair' | 'giveUp' | 'wait';
};

/**
 * Before a status write: is it our own next update (`write`), or does it restore what another client changed (`repair`)?
 * The third foreign write within a minute is not repaired (`giveUp`); for ten minutes nothing is (`wait`), unless the
 * user changes the spec.
 */
export function beforeWrite(
  conflict: StatusConflict,
  { status: shown, spec }: Pick<Service, 'status' | 'spec'>,
  nowMs: number,
): ConflictStep {
  if (conflict.pausedUntilMs !== undefined) {
    if (nowMs < conflict.pausedUntilMs && conflict.pausedFor === spec) return { conflict, action: 'wait' };
    return { conflict: { ...noConflict, published: shown }, action: 'write' };
  }
  if (conflict.published === undefined || isSameStatus(conflict.published, shown)) return { conflict, action: 'write' };
  const foreignWritesMs = [...conflict.foreignWritesMs.filter((at) => nowMs - at < windowMs), nowMs];
  if (foreignWritesMs.length < foreignWritesAllowed)
    return { conflict: { ...conflict, foreignWritesMs }, action: 'repair' };
  return {
    conflict: { ...conflict, foreignWritesMs, pausedUntilMs: nowMs + pauseMs, pausedFor: spec },
    action: 'giveUp',
  };
}

/** After a status write was accepted. */
export function afterWrite(conflict: StatusConflict, published: DesiredStatus): StatusConflict {
  return { ...conflict, published };
}
