import { messageOf } from '../async/error-words.ts';
import { LineError } from './lines.ts';
import { KubeError, type KubeErrorCode } from './errors.ts';
import { noAnswer } from './reachability.ts';

/**
 * One step of a list-and-watch. `init` … `initDone` brackets a full replacement of the set: an object that was not
 * applied between them no longer exists. `init` may come again before `initDone` (that attempt failed): start over.
 * `version` is a resourceVersion: of the object; of the deletion; of the whole set.
 */
export type WatchEvent<T> =
  | { readonly type: 'init' }
  | { readonly type: 'initApply' | 'apply'; readonly key: string; readonly version: string; readonly object: T }
  | { readonly type: 'initDone'; readonly version: string }
  | { readonly type: 'delete'; readonly key: string; readonly version: string }
  /** The object exists, but its projection threw: it must not be considered deleted. */
  | { readonly type: 'undecodable'; readonly key: string; readonly version: string; readonly error: unknown }
  /** The API server has sent all changes up to now. */
  | { readonly type: 'bookmark' }
  | { readonly type: 'error'; readonly error: WatchError; readonly retryInMs: number };

/**
 * - `expired`: the version is too old (410); all objects are listed again.
 * - `throttled` (429), `forbidden` (403), `unauthorized` (401, or no credentials), `server` (5xx, other refusals).
 * - `network`: no connection, or a broken one. `idle`: nothing received for too long. `protocol`: not a watch stream.
 * - `ended`: the server ended the watch as soon as it began. `outdated`: it sent an older state than before.
 */
export type WatchErrorCode =
  | 'expired'
  | 'throttled'
  | 'forbidden'
  | 'unauthorized'
  | 'server'
  | 'network'
  | 'idle'
  | 'protocol'
  | 'ended'
  | 'outdated';

/** Why a watch was interrupted; it resumes automatically. */
export class WatchError extends Error {
  override readonly name = 'WatchError';
  readonly code: WatchErrorCode;
  readonly retryAfterMs: number | undefined;
  constructor(code: WatchErrorCode, message: string, options: ErrorOptions & { readonly retryAfterMs?: number } = {}) {
    super(message, options);
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Converts an exception of a list, a watch or its stream to a reason. */
export function toWatchError(cause: unknown): WatchError {
  if (cause instanceof WatchError) return cause;
  if (cause instanceof SyntaxError) return new WatchError('protocol', 'a watch event that is not JSON', { cause });
  if (cause instanceof LineError) return new WatchError('protocol', messageOf(cause), { cause });
  if (!(cause instanceof KubeError)) return new WatchError('network', noAnswer(cause).message, { cause });
  const options = { cause, ...(cause.retryAfterMs === undefined ? {} : { retryAfterMs: cause.retryAfterMs }) };
  return new WatchError(codes[cause.code], messageOf(cause), options);
}

const codes: Readonly<Record<KubeErrorCode, WatchErrorCode>> = {
  GONE: 'expired',
  THROTTLED: 'throttled',
  FORBIDDEN: 'forbidden',
  UNAUTHORIZED: 'unauthorized',
  CREDENTIALS: 'unauthorized',
  UNREACHABLE: 'network',
  UNTRUSTED: 'network',
  TIMEOUT: 'network',
  PROTOCOL: 'protocol',
  INVALID: 'server',
  NOT_FOUND: 'server',
  CONFLICT: 'server',
  ALREADY_EXISTS: 'server',
  SERVER: 'server',
};
