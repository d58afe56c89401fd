import { KubeConfigError, KubeError, type KubeErrorCode, type StatusCause } from './errors.ts';
import type { HttpAnswer } from './transport.ts';

/** Which request failed, for the error. */
export type Attempt = { readonly verb: string; readonly path: string };

/** metav1.Status, the body of a refusal. */
type Status = {
  readonly message?: string;
  readonly reason?: string;
  readonly details?: { readonly causes?: readonly StatusCause[]; readonly retryAfterSeconds?: number };
};

/** Longest text of an answer that is put into a message. */
const quoteLength = 300;

/** Reads a refusal (any status from 300) as the error that it means. */
export async function refusal(answer: HttpAnswer, attempt: Attempt): Promise<KubeError> {
  const { statusCode, headers, body } = answer;
  const text = await body.text();
  const status = parseStatus(text);
  const seconds = Number(headers['retry-after'] ?? status.details?.retryAfterSeconds ?? Number.NaN);
  return statusError({ ...status, code: statusCode }, attempt, {
    fallback: text.slice(0, quoteLength),
    retryAfterMs: seconds > 0 ? seconds * 1000 : undefined,
  });
}

/** A metav1.Status (of an answer, or of an ERROR event in a watch) as an error. */
export function statusError(
  { code, message, reason, details }: Status & { readonly code?: number },
  attempt: Attempt,
  { fallback = '', retryAfterMs }: { readonly fallback?: string; readonly retryAfterMs?: number | undefined } = {},
): KubeError {
  const status = code ?? 500;
  return new KubeError({
    code: codeOf(status, reason),
    status,
    reason,
    message: message || fallback || `HTTP ${status}`,
    causes: details?.causes,
    retryAfterMs,
    ...attempt,
  });
}

/** What undici, the deadline or the credentials threw, as the error that it means. */
export function failure(cause: unknown, attempt: Attempt): KubeError {
  if (cause instanceof KubeError) return cause;
  const message = messageOf(cause);
  if (cause instanceof KubeConfigError) return new KubeError({ code: 'CREDENTIALS', message, cause, ...attempt });
  if (cause instanceof SyntaxError)
    return new KubeError({ code: 'PROTOCOL', message: `the answer is not JSON: ${message}`, cause, ...attempt });
  const isTimeout = cause instanceof Error && (cause.name === 'TimeoutError' || codeIn(cause).endsWith('TIMEOUT'));
  return new KubeError({ code: isTimeout ? 'TIMEOUT' : 'UNREACHABLE', message, cause, ...attempt });
}

function codeOf(status: number, reason: string | undefined): KubeErrorCode {
  switch (status) {
    case 400:
    case 422:
      return 'INVALID';
    case 401:
      return 'UNAUTHORIZED';
    case 403:
      return 'FORBIDDEN';
    case 404:
      return 'NOT_FOUND';
    case 409:
      return reason === 'AlreadyExists' ? 'ALREADY_EXISTS' : 'CONFLICT';
    case 410:
      return 'GONE';
    case 429:
      return 'THROTTLED';
    default:
      return status >= 500 ? 'SERVER' : 'PROTOCOL';
  }
}

function parseStatus(text: string): Status {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {}; // a proxy's page, or nothing: the HTTP status says enough
  }
}

function codeIn(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** Node puts the several addresses that it tried into an AggregateError without a message. */
function messageOf(cause: unknown): string {
  if (cause instanceof AggregateError) return cause.errors.map(messageOf).join('; ');
  return cause instanceof Error ? cause.message || codeIn(cause) || cause.name : String(cause);
}
