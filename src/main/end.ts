import type { Writable } from 'node:stream';
import { messageOf } from '../async/error-words.ts';
import { UsageError } from '../daemon/errors.ts';

/** True for the error of a part that was aborted: the signal's reason, or Node's wrapper of it. */
export function isToldToEnd(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false;
  return error === signal.reason || (isAbortError(error) && error.cause === signal.reason);
}

function isAbortError(error: unknown): error is Error {
  return error instanceof Error && error.name === 'AbortError';
}

/** The exit code of the process for an error, and the words of its last line. */
export function endFor(error: unknown, signal: AbortSignal): { readonly exitCode: number; readonly words: string } {
  const cause = isToldToEnd(error, signal) ? signal.reason : error;
  return { exitCode: cause instanceof UsageError ? 2 : 1, words: wordsOf(cause) };
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return isExternal(error) ? messageOf(error) : (error.stack ?? messageOf(error));
}

/**
 * Errors with a code have an external cause, and their message is enough. All others are faults of the program, and are
 * shown with their stack.
 */
export function isExternal(error: Error): error is Error & { readonly code: unknown } {
  return 'code' in error && !(error instanceof TypeError || error instanceof RangeError);
}

/**
 * Keeps an error of standard output or standard error (a full disk under the log) from ending the process. Calls
 * `onLost` for answers that could not be written, but not if the reader has closed the pipe (`| head`).
 */
export function tolerateErrors(stream: Writable, onLost: (error: Error) => void = () => undefined): void {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') onLost(error);
  });
}
