import { getSystemErrorMessage } from 'node:util';
import { oneLine } from '../core/text.ts';

/**
 * What was thrown, as a text for users: the message of an error of furiwake, and the words of the system for an error of
 * Node.js, with the file or the address: `connection refused (192.0.2.2:6443)`. No other code reads `error.message`.
 */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (!('errno' in error)) return error.message;
  const place = placeOf(error);
  return `${systemWords(error)}${place === '' ? '' : ` (${place})`}`;
}

/** What was thrown, on one line. */
export function wordsOf(error: unknown): string {
  return oneLine(messageOf(error));
}

/** Whether the system refused something: an error of a file, or of Node.js. */
export function isSystemError(error: unknown): error is Error {
  return error instanceof Error && ('words' in error || 'errno' in error);
}

/** What the system says in an error of a file or of Node.js, `read-only file system`, without code, call and path. */
export function systemWords(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { words, errno } = error as { readonly words?: unknown; readonly errno?: unknown };
  if (typeof words === 'string') return words;
  return typeof errno === 'number' && errno < 0 ? getSystemErrorMessage(errno) : error.message;
}

function placeOf({
  path,
  address,
  port,
}: { readonly path?: unknown; readonly address?: unknown; readonly port?: unknown } & Error): string {
  if (typeof path === 'string') return path;
  if (typeof address !== 'string') return '';
  const host = address.includes(':') ? `[${address}]` : address;
  return typeof port === 'number' && port >= 0 ? `${host}:${port}` : host;
}
