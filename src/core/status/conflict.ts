import type { Service, ServiceSpec } from '../model/service.ts';
import type { DesiredStatus } from './desired.ts';
import { isSameStatus } from './next-write.ts';

/**
 * What furiwake remembers about a conflict over one Service's status: what furiwake published last, when other clients
 * changed it, and until when furiwake does not write.
 */
export type StatusConflict = {
  readonly published: DesiredStatus | undefined;
  /** What another client wrote last, counted and not repaired yet: the API server may refuse repairs for a while. */
  readonly unrepaired: DesiredStatus | undefined;
  /** Times of foreign writes within the last minute, ms. */
  readonly foreignWritesMs: readonly number[];
  readonly pausedUntilMs: number | undefined;
  /** What the Service asked for and got at the beginning of the pause; a change of either ends the pause. */
  readonly pausedFor: { readonly spec: ServiceSpec; readonly addresses: string } | undefined;
};

export const noConflict: StatusConflict = {
  published: undefined,
  unrepaired: undefined,
  foreignWritesMs: [],
  pausedUntilMs: undefined,
  pausedFor: undefined,
};

const windowMs = 60_000;
const foreignWritesAllowed = 3;
/** How long furiwake does not write after the third foreign write. */
export const pauseMs = 600_000;

export type ConflictStep = {
  readonly conflict: StatusConflict;
  readonly action: 'write' | 'repair' | 'giveUp' | 'wait';
};

/**
 * Decides what a status write would be: our own update (`write`), or a repair of what another client changed (`repair`).
 * furiwake does not repair the third foreign write within a minute (`giveUp`), and then writes nothing for ten minutes
 * (`wait`), or until the user changes the spec or the Service gets another address, which the status would not show.
 */
export function beforeWrite(
  conflict: StatusConflict,
  { status: shown, spec }: Pick<Service, 'status' | 'spec'>,
  wanted: DesiredStatus,
  nowMs: number,
): ConflictStep {
  if (conflict.pausedUntilMs !== undefined) {
    const isSame = conflict.pausedFor?.spec === spec && conflict.pausedFor.addresses === addressesOf(wanted);
    if (nowMs < conflict.pausedUntilMs && isSame) return { conflict, action: 'wait' };
    return { conflict: { ...noConflict, published: shown }, action: 'write' };
  }
  if (conflict.published === undefined || isSameStatus(expected(conflict.published, shown, spec), shown))
    return { conflict, action: 'write' };
  if (conflict.unrepaired !== undefined && isSameStatus(conflict.unrepaired, shown))
    return { conflict, action: 'repair' };
  const foreignWritesMs = [...conflict.foreignWritesMs.filter((at) => nowMs - at < windowMs), nowMs];
  if (foreignWritesMs.length < foreignWritesAllowed)
    return { conflict: { ...conflict, foreignWritesMs, unrepaired: shown }, action: 'repair' };
  return {
    conflict: {
      ...conflict,
      foreignWritesMs,
      pausedUntilMs: nowMs + pauseMs,
      pausedFor: { spec, addresses: addressesOf(wanted) },
    },
    action: 'giveUp',
  };
}

/** After a write that succeeded. */
export function afterWrite(conflict: StatusConflict, published: DesiredStatus): StatusConflict {
  return { ...conflict, published, unrepaired: undefined };
}

function addressesOf({ ingress }: DesiredStatus): string {
  return ingress.map(({ ip }) => ip).join();
}

/** What the status shows if no other client changed it: the API server itself removes the addresses when the type changes. */
function expected(published: DesiredStatus, shown: DesiredStatus, { type }: Pick<ServiceSpec, 'type'>): DesiredStatus {
  return type !== 'LoadBalancer' && shown.ingress.length === 0 ? { ...published, ingress: [] } : published;
}
