import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { unlessAborted } from '../async/abort.ts';
import { makeBackoff } from '../async/backoff.ts';
import { makeTrouble } from '../async/trouble.ts';
import { KubeConfigError } from './errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';

/** Credentials of the client, and certificates to verify the server. Texts in PEM form; any part may be missing. */
export type Credentials = {
  readonly token?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** Certificates that may have signed the server's; missing: those that Node trusts. */
  readonly ca?: string | undefined;
};

/**
 * Credentials that may change at run time: files that are replaced, plugins whose tokens expire. All reject when
 * `signal` aborts.
 */
export type CredentialSource = {
  /** The current ones: at once while they are fresh, otherwise within a second. Throws `KubeConfigError` if there have never been any. */
  current(signal: AbortSignal): Promise<Credentials>;
  /**
   * After the server rejected `used`: returns newer ones if there are any, obtained once for all concurrent callers.
   */
  refresh(used: Credentials, signal: AbortSignal): Promise<Credentials>;
  /** Obtains new ones now, regardless of their age. Throws `KubeConfigError`, which it does not log; then the old ones stay in use. */
  reload(signal: AbortSignal): Promise<void>;
  /** Ends a running plugin. */
  close(): void;
};

export type LoadedCredentials = { readonly credentials: Credentials; readonly lifetimeMs: number };

const mostWaitMs = 300_000;
/** How long a renewal delays requests. A file is read within milliseconds; a plugin may take a minute, and the Lease cannot wait. */
const patienceMs = 1_000;

/** The deadline of a request ended before its credentials were obtained. */
export class CredentialsTimeout extends Error {
  override readonly name = 'TimeoutError';
}

/**
 * Keeps the result of `load` for its lifetime. If renewal takes more than a second or fails (a plugin that hangs or has no network,
 * a file that is being replaced), the old ones stay in use: the server decides whether they are valid, and its 401 leads to `refresh`. At
 * least `restMs` pass between two loads, and more after each failed one, however often the server answers 401 and
 * however short the lifetime is.
 */
export function makeCredentialSource({
  load,
  restMs,
  clock,
  log,
}: {
  /** `signal` aborts when the source is closed. */
  readonly load: (signal: AbortSignal) => Promise<LoadedCredentials>;
  readonly restMs: number;
  readonly clock: Clock;
  readonly log: Log;
}): CredentialSource {
  let kept: { readonly credentials: Credentials; readonly untilMs: number } | undefined;
  let lastError: unknown;
  let restsUntilMs = Number.NEGATIVE_INFINITY;
  let running: Promise<Credentials> | undefined;
  let startedAtMs = 0;
  /** The running load was requested by `reload`, whose caller reports its failure. */
  let isReported = false;
  const end = new AbortController();
  const backoff = makeBackoff({ firstMs: restMs, mostMs: mostWaitMs }); // what fails may need a person
  const trouble = makeTrouble({ what: 'renewing the credentials', log, clock });

  const loadOnce = async (): Promise<Credentials> => {
    startedAtMs = clock.monotonic();
    try {
      const { credentials, lifetimeMs } = await load(end.signal);
      const nowMs = clock.monotonic();
      restsUntilMs = nowMs + restMs;
      kept = { credentials, untilMs: nowMs + lifetimeMs };
      backoff.reset();
      trouble.over();
      return credentials;
    } catch (error) {
      end.signal.throwIfAborted();
      lastError = error;
      restsUntilMs = clock.monotonic() + backoff.next();
      if (kept !== undefined && !isReported) trouble.failed(error); // otherwise the caller reports it
      throw error;
    }
  };

  /**
   * Joins the running load, or starts one. It continues after the deadline of the request that started it: a plugin that
   * is slower than a renewal of the Lease would otherwise never end.
   */
  const join = (): Promise<Credentials> =>
    (running ??= loadOnce().finally(() => {
      running = undefined;
      isReported = false;
    }));

  const waitFor = async (signal: AbortSignal): Promise<Credentials> => {
    signal.throwIfAborted();
    try {
      return await unlessAborted(join(), signal);
    } catch (error) {
      const isLate = signal.aborted && (signal.reason as Error).name === 'TimeoutError';
      throw isLate ? new CredentialsTimeout('the credentials of the kubeconfig were not obtained in time') : error;
    }
  };

  const isResting = (): boolean => running === undefined && clock.monotonic() < restsUntilMs;

  return {
    current: async (signal) => {
      if (kept === undefined && isResting()) throw lastError;
      if (kept === undefined) return waitFor(signal);
      if (clock.monotonic() < kept.untilMs || isResting()) return kept.credentials;
      const renewal = join();
      const leftMs = startedAtMs + patienceMs - clock.monotonic();
      if (leftMs <= 0) return kept.credentials;
      using patience = clock.deadline(leftMs, signal);
      try {
        return await unlessAborted(renewal, patience.signal);
      } catch {
        signal.throwIfAborted();
        return kept.credentials; // that load failed, or continues
      }
    },
    refresh: async (used, signal) => {
      if (kept !== undefined && kept.credentials !== used) return kept.credentials;
      return isResting() ? used : waitFor(signal);
    },
    reload: async (signal) => {
      isReported ||= running === undefined;
      await waitFor(signal);
    },
    close: () => end.abort(),
  };
}

/**
 * Throws {@link KubeConfigError} for an unusable CA, certificate or key. Without this check the first connection would
 * fail as if the server were unreachable. `caWhere`, `pairWhere`: their sources.
 */
export function assertTlsMaterial({ ca, cert, key }: Credentials, caWhere: string, pairWhere: string): void {
  attempt(ca, `${caWhere} is not a certificate in PEM form`, (pem) => new X509Certificate(pem));
  attempt(cert, `${pairWhere}: client-certificate is not a certificate in PEM form`, (pem) => new X509Certificate(pem));
  attempt(key, `${pairWhere}: client-key is not a key in PEM form, or has a passphrase`, (pem) =>
    createSecureContext({ key: pem }),
  );
  if (cert !== undefined && key !== undefined)
    attempt(key, `${pairWhere}: client-key does not belong to client-certificate`, () =>
      createSecureContext({ cert, key }),
    );
}

function attempt(pem: string | undefined, complaint: string, use: (pem: string) => unknown): void {
  if (pem === undefined) return;
  try {
    use(pem);
  } catch (error) {
    throw new KubeConfigError(complaint, { cause: error });
  }
}
