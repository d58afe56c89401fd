import { messageOf } from '../async/error-words.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { DesiredStatus } from '../core/status/desired.ts';
import type { Write } from '../core/status/next-write.ts';
import { isKubeError, isServerFailure, isWebhookFailure } from '../kube/errors.ts';
import { WriteAlteredError } from './finalizer-writer.ts';

/**
 * The Services whose status or finalizers cannot be written: refused, left to another client, or `NotWritten` because the API server does
 * not take writes or this host may not write.
 */
export type UnwrittenServices = ReadonlyMap<ServiceKey, Unwritten>;

export type Unwritten = {
  readonly reason: 'StatusConflict' | 'WriteRefused' | 'NotWritten';
  readonly words: string;
  /** The status that the Service should have; `undefined`: its finalizers come first. */
  readonly wanted: DesiredStatus | undefined;
};

/** Event and log show a refused write from this attempt on: the first refusals may be a change under way. */
export const attemptsBeforeWarning = 3;

export const pauseWords = 'another client keeps changing this status; status updates are paused';

export const noLeaseWords = 'this host does not hold the Lease';

/** What an error of the write means; `undefined`: it is a fault of furiwake. */
export function unwrittenAfter(write: Write, error: unknown): Unwritten | undefined {
  if (isServerFailure(error) && !isWebhookFailure(error)) return notWritten(write, messageOf(error));
  if (!isKubeError(error) && !(error instanceof WriteAlteredError)) return undefined;
  return {
    reason: 'WriteRefused',
    words: `the ${write.kind} cannot be written, retrying: ${messageOf(error)}`,
    wanted: wantedBy(write),
  };
}

/** `why`: neither the API server nor an admission plugin refused it. */
export function notWritten(write: Write, why: string): Unwritten {
  return { reason: 'NotWritten', words: `the ${write.kind} is not written yet: ${why}`, wanted: wantedBy(write) };
}

function wantedBy(write: Write): Unwritten['wanted'] {
  return write.kind === 'status' ? write.status : undefined;
}
