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
  if (isToldToEnd(error, signal)) return { exitCode: 1, lastWords: `furiwake: ${wordsOf(signal.reason)}: not done\n` };
  return { exitCode: error instanceof UsageError ? 2 : 1, lastWords: `furiwake: ${wordsOf(error)}\n` };
}

/** Errors that carry a code are failures of the world, and their message tells all. A stack is for our own faults. */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isOurFault = !('code' in error) || error instanceof TypeError || error instanceof RangeError;
  return isOurFault ? (error.stack ?? error.message) : error.message;
}
