import type { ServiceKey } from '../core/model/names.ts';
import type { DesiredStatus } from '../core/status/desired.ts';
import type { Write } from '../core/status/next-write.ts';
import { isKubeError, isServerFailure, isWebhookFailure } from '../kube/errors.ts';
import { WriteAlteredError } from './finalizer-writer.ts';

/** The Services whose status or finalizers cannot be written. */
export type UnwrittenServices = ReadonlyMap<ServiceKey, Unwritten>;

export type Unwritten = {
  readonly reason: 'StatusConflict' | 'WriteRefused';
  readonly words: string;
  /** The status that the Service should have; `undefined`: its finalizers come first. */
  readonly wanted: DesiredStatus | undefined;
};

/** Event and log show a refused write from this attempt on: the first refusals may be a change under way. */
export const attemptsBeforeWarning = 3;

export const pauseWords = 'another client keeps changing this status; status updates are paused';

/** What an error of the write means; `undefined`: neither the API server nor an admission plugin refused it. */
export function unwrittenAfter(write: Write, error: unknown): Unwritten | undefined {
  if (!isKubeError(error) && !(error instanceof WriteAlteredError)) return undefined;
  if (isServerFailure(error) && !isWebhookFailure(error)) return undefined;
  return {
    reason: 'WriteRefused',
    words: `the ${write.kind} cannot be written, retrying: ${error.message}`,
    wanted: write.kind === 'status' ? write.status : undefined,
  };
}
