import { UsageError } from '../daemon/errors.ts';

/** True for what a part throws because it was told to end: the signal's reason, or Node's wrapping of it. */
export function isToldToEnd(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false;
  return error === signal.reason || (isAbortError(error) && error.cause === signal.reason);
}

function isAbortError(error: unknown): error is Error {
  return error instanceof Error && error.name === 'AbortError';
}

/** How the process ends for what was thrown: its exit code, and its last line. */
export function endFor(error: unknown, signal: AbortSignal): { readonly exitCode: number; readonly lastWords: string } {
  const cause = isToldToEnd(error, signal) ? signal.reason : error;
  return { exitCode: cause instanceof UsageError ? 2 : 1, lastWords: `error: ${wordsOf(cause)}\n` };
}

/** Errors with a code come from outside, and their message suffices. All others are faults of the program: with a stack. */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isOwnFault = !('code' in error) || error instanceof TypeError || error instanceof RangeError;
  return isOwnFault ? (error.stack ?? error.message) : error.message;
}
