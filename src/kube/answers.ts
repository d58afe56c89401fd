import { messageOf } from '../async/error-words.ts';
import { cutAt } from '../core/text.ts';
import { parseJson } from '../core/parse-json.ts';
import { KubeConfigError, KubeError, type KubeErrorCode, type StatusCause } from './errors.ts';
import { noAnswer } from './reachability.ts';
import type { HttpAnswer } from './transport.ts';

/** Which request failed, for the error. */
export type RequestLine = { readonly verb: string; readonly path: string };

/** metav1.Status, the body of a refusal. */
type Status = {
  readonly message?: string;
  readonly reason?: string;
  readonly details?: { readonly causes?: readonly StatusCause[]; readonly retryAfterSeconds?: number };
};

/** Longest part of an answer that is quoted in a message. */
const mostQuoted = 200;
/** Longest Retry-After that is followed: a proxy may ask for a day, and the API server works again after a minute. */
const mostRetryAfterMs = 60_000;

/** Converts a refusal (any status from 300 on) to an error. */
export async function refusal(answer: HttpAnswer, request: RequestLine): Promise<KubeError> {
  const { statusCode, headers, body } = answer;
  const text = await body.text();
  const status = parseStatus(text);
  const seconds = Number(headers['retry-after'] ?? status.details?.retryAfterSeconds ?? Number.NaN);
  return statusError({ ...status, code: statusCode }, request, {
    fallback: quotable(text),
    retryAfterMs: seconds > 0 ? Math.min(seconds * 1000, mostRetryAfterMs) : undefined,
  });
}

/** A metav1.Status (of an answer, or of an ERROR event in a watch) as an error. */
export function statusError(
  { code, message, reason, details }: Status & { readonly code?: number },
  request: RequestLine,
  { fallback = '', retryAfterMs }: { readonly fallback?: string; readonly retryAfterMs?: number | undefined } = {},
): KubeError {
  const status = code ?? 500;
  return new KubeError({
    code: codeOf(status, reason),
    status,
    reason,
    message:
      status === 401
        ? 'the API server rejected the credentials (401 Unauthorized)'
        : message || fallback || `HTTP status ${status}`,
    causes: details?.causes,
    retryAfterMs,
    ...request,
  });
}

/** Converts an exception of undici, the deadline or the credentials to an error. */
export function failure(cause: unknown, request: RequestLine): KubeError {
  if (cause instanceof KubeError) return cause;
  if (cause instanceof KubeConfigError)
    return new KubeError({ code: 'CREDENTIALS', message: messageOf(cause), cause, ...request });
  if (cause instanceof SyntaxError)
    return new KubeError({ code: 'PROTOCOL', message: 'the answer is not JSON', cause, ...request });
  return new KubeError({ ...noAnswer(cause), cause, ...request });
}

const codes: Readonly<Record<number, KubeErrorCode>> = {
  400: 'INVALID',
  401: 'UNAUTHORIZED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  409: 'CONFLICT',
  410: 'GONE',
  422: 'INVALID',
  429: 'THROTTLED',
};

function codeOf(status: number, reason: string | undefined): KubeErrorCode {
  if (status === 409 && reason === 'AlreadyExists') return 'ALREADY_EXISTS';
  return codes[status] ?? (status >= 500 ? 'SERVER' : 'PROTOCOL');
}

/** Empty for the page of a proxy, or an empty body: the HTTP status is enough. */
function parseStatus(text: string): Status {
  const value = parseJson(text);
  return typeof value === 'object' && value !== null ? value : {};
}

/** The beginning of a plain text in one line; empty for an HTML page. */
function quotable(text: string): string {
  const line = text.trim().replaceAll(/\s+/g, ' ');
  if (line.startsWith('<') || line.startsWith('{')) return '';
  return cutAt(line, mostQuoted);
}
