import { unlessAborted } from '../async/abort.ts';
import { makeBackoff } from '../async/backoff.ts';
import { makeTrouble } from '../async/trouble.ts';
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
  /** The current ones; cheap while they are fresh. Throws `KubeConfigError` if there have never been any. */
  current(signal: AbortSignal): Promise<Credentials>;
  /**
   * After the server rejected `used`: returns newer ones if there are any, obtained once for all concurrent callers.
   */
  refresh(used: Credentials, signal: AbortSignal): Promise<Credentials>;
  /** Obtains new ones now, regardless of their age. Throws `KubeConfigError`; then the old ones stay in use. */
  reload(signal: AbortSignal): Promise<void>;
};

export type LoadedCredentials = { readonly credentials: Credentials; readonly lifetimeMs: number };

const mostWaitMs = 300_000;

/**
 * Keeps the result of `load` for its lifetime. If renewal fails (a file that is being replaced, a plugin without
 * network), the old ones stay in use: the server decides whether they are valid, and its 401 leads to `refresh`. At
 * least `restMs` pass between two loads, and more after each failed one, however often the server answers 401 and
 * however short the lifetime is.
 */
export function makeCredentialSource({
  load,
  restMs,
  clock,
  log,
}: {
  /** `signal` aborts when no caller waits any longer. */
  readonly load: (signal: AbortSignal) => Promise<LoadedCredentials>;
  readonly restMs: number;
  readonly clock: Clock;
  readonly log: Log;
}): CredentialSource {
  let kept: { readonly credentials: Credentials; readonly untilMs: number } | undefined;
  let lastError: unknown;
  let restsUntilMs = Number.NEGATIVE_INFINITY;
  let running: { readonly result: Promise<Credentials>; readonly stop: AbortController; waiters: number } | undefined;
  const backoff = makeBackoff({ firstMs: restMs, mostMs: mostWaitMs });
  const trouble = makeTrouble({ what: 'renewing the credentials', log, monotonic: () => clock.monotonic() });

  const loadOnce = async (signal: AbortSignal): Promise<Credentials> => {
    try {
      const { credentials, lifetimeMs } = await load(signal);
      const nowMs = clock.monotonic();
      restsUntilMs = nowMs + restMs;
      kept = { credentials, untilMs: nowMs + lifetimeMs };
      backoff.reset();
      trouble.over();
      return credentials;
    } catch (error) {
      signal.throwIfAborted();
      lastError = error;
      restsUntilMs = clock.monotonic() + backoff.next();
      if (kept !== undefined) trouble.failed(error); // otherwise the caller reports it
      throw error;
    }
  };

  /** Joins the running load, or starts one; it is aborted when no caller waits for it any longer. */
  const join = async (signal: AbortSignal): Promise<Credentials> => {
    signal.throwIfAborted();
    if (running === undefined) {
      const stop = new AbortController();
      running = { result: loadOnce(stop.signal), stop, waiters: 0 };
    }
    const mine = running;
    mine.waiters += 1;
    try {
      return await unlessAborted(mine.result, signal);
    } finally {
      mine.waiters -= 1;
      if (mine.waiters === 0) {
        mine.stop.abort(signal.reason); // has no effect if it has ended
        if (running === mine) running = undefined;
      }
    }
  };

  const isResting = (): boolean => running === undefined && clock.monotonic() < restsUntilMs;

  return {
    current: async (signal) => {
      if (kept !== undefined && (clock.monotonic() < kept.untilMs || isResting())) return kept.credentials;
      if (isResting()) throw lastError;
      try {
        return await join(signal);
      } catch (error) {
        signal.throwIfAborted();
        if (kept === undefined) throw error;
        return kept.credentials;
      }
    },
    refresh: async (used, signal) => {
      if (kept !== undefined && kept.credentials !== used) return kept.credentials;
      return isResting() ? used : await join(signal);
    },
    reload: async (signal) => {
      await join(signal);
    },
  };
}
