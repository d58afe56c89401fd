import { messageOf } from '../async/error-words.ts';

/**
 * The cause of a failed request:
 *
 * - `UNREACHABLE`: no connection, or a broken one. `TIMEOUT`: no answer within the deadline.
 * - `UNTRUSTED`: the server's certificate is not trusted.
 * - `CREDENTIALS`: furiwake could not obtain its own (token file, exec plugin). `UNAUTHORIZED`: the server rejected
 *   them.
 * - `FORBIDDEN`, `NOT_FOUND`, `CONFLICT`, `ALREADY_EXISTS`, `INVALID` (400 and 422), `GONE` (410), `THROTTLED` (429).
 * - `SERVER`: any 5xx. `PROTOCOL`: not an answer of a Kubernetes API server.
 */
export type KubeErrorCode =
  | 'UNREACHABLE'
  | 'UNTRUSTED'
  | 'TIMEOUT'
  | 'CREDENTIALS'
  | 'UNAUTHORIZED'
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  | 'CONFLICT'
  | 'ALREADY_EXISTS'
  | 'INVALID'
  | 'GONE'
  | 'THROTTLED'
  | 'SERVER'
  | 'PROTOCOL';

/** One entry of metav1.Status `details.causes`, e.g. `{ reason: 'NamespaceTerminating' }`. */
export type StatusCause = { readonly reason?: string; readonly message?: string; readonly field?: string };

export type KubeErrorFacts = {
  readonly code: KubeErrorCode;
  /** HTTP status; `undefined` without an answer. */
  readonly status?: number | undefined;
  /** metav1.Status `reason`, e.g. `NotFound`, `Invalid`. */
  readonly reason?: string | undefined;
  readonly message: string;
  /** What to do, where the cause says more than the code. */
  readonly advice?: string;
  /** The server's Retry-After, in ms, at most a minute: a lower bound for the next attempt. */
  readonly retryAfterMs?: number | undefined;
  readonly causes?: readonly StatusCause[] | undefined;
  readonly verb: string;
  readonly path: string;
  readonly cause?: unknown;
};

/** Failures of the connection as a whole: the request does not matter. */
const connectionCodes: ReadonlySet<KubeErrorCode> = new Set([
  'UNREACHABLE',
  'UNTRUSTED',
  'TIMEOUT',
  'CREDENTIALS',
  'UNAUTHORIZED',
]);

/** What an administrator does about a failure, where its cause says no more. */
const adviceFor: Readonly<Record<KubeErrorCode, string>> = {
  UNREACHABLE: 'check the server in the kubeconfig, and the network between this host and it',
  UNTRUSTED: 'check certificate-authority and tls-server-name in the kubeconfig',
  TIMEOUT: 'check the server in the kubeconfig, firewalls on the way that drop packets, and the load of the API server',
  CREDENTIALS: 'correct the kubeconfig, or the file or plugin that it names',
  UNAUTHORIZED:
    'the token or certificate in the kubeconfig is invalid or has expired, or was revoked: create a new one',
  FORBIDDEN: 'check the user in the kubeconfig, and its permissions',
  NOT_FOUND:
    'check the server in the kubeconfig: is it a Kubernetes API server, and does its version have this resource?',
  CONFLICT: 'another client changed the object: try again',
  ALREADY_EXISTS: 'another client created the object: try again',
  INVALID:
    'check the server in the kubeconfig (https:// or http://?), and compare its version with what furiwake supports',
  GONE: 'try again',
  THROTTLED: 'the API server is overloaded: try again later',
  SERVER: 'check the log of the API server: it reports a fault of its own, of etcd or of a webhook',
  PROTOCOL: 'check the server in the kubeconfig: it is another web server, or a proxy',
};

/**
 * A failed request to the API server. Callers decide by `code`. `message` and `advice` are for users: they contain no text
 * of a library, and the request only if it matters; `cause` has the library's error.
 */
export class KubeError extends Error {
  override readonly name = 'KubeError';
  readonly code: KubeErrorCode;
  readonly status: number | undefined;
  readonly reason: string | undefined;
  /** What to do about it. */
  readonly advice: string;
  readonly retryAfterMs: number | undefined;
  readonly causes: readonly StatusCause[];
  readonly verb: string;
  readonly path: string;
  constructor({ code, status, reason, message, advice, retryAfterMs, causes = [], verb, path, cause }: KubeErrorFacts) {
    super(connectionCodes.has(code) ? message : `${verb} ${path}: ${message}`, { cause });
    this.code = code;
    this.status = status;
    this.reason = reason;
    this.advice = advice ?? adviceFor[code];
    this.retryAfterMs = retryAfterMs;
    this.causes = causes;
    this.verb = verb;
    this.path = path;
  }
}

/** True for a {@link KubeError} with one of these codes. */
export function isKubeError(error: unknown, ...codes: readonly KubeErrorCode[]): error is KubeError {
  return error instanceof KubeError && (codes.length === 0 || codes.includes(error.code));
}

/** True for a failure of the connection or of the API server, which is independent of the object of the request. */
export function isServerFailure(error: unknown): error is KubeError {
  return isKubeError(error, ...connectionCodes, 'THROTTLED', 'SERVER', 'PROTOCOL');
}

/**
 * True if an admission webhook that fails, or that refuses with a 5xx code, is the cause: other objects may be written. The API server
 * says it only in its message: `failed calling webhook "…"`, `admission webhook "…" denied the request`.
 */
export function isWebhookFailure(error: unknown): boolean {
  return isKubeError(error, 'SERVER') && messageOf(error).includes('webhook "');
}

/** An unusable kubeconfig, token file or exec plugin: one line that says what is wrong, where, and what to do. */
export class KubeConfigError extends Error {
  override readonly name = 'KubeConfigError';
  readonly code = 'KUBE_CONFIG';
}
