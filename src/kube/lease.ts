import { assertNever } from '../core/assert-never.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { KubeClient, RequestOptions } from './client.ts';
import { isKubeError } from './errors.ts';
import { type LeaseObject, leaseBody, type LeaseSpec } from './lease-object.ts';
import { resourcePath } from './paths.ts';

/** Why `hold` ended: another one took the lease (it may bear our own identity: a second process of this host), or we gave it back. */
export type LeaseLoss = { readonly reason: 'taken'; readonly holder: string } | { readonly reason: 'released' };

export type Lease = {
  /**
   * Waits until the lease is ours. A lease of our own identity is taken back at once (we crashed); another's when
   * it is empty, gone, or unchanged for its whole duration by our own clock. `onHolder` is told once per holder.
   * Failures of the API are logged and waited out; rejects when `signal` aborts, and with {@link NoNamespaceError}.
   */
  acquire(signal: AbortSignal, onHolder?: (holder: string) => void): Promise<void>;
  /**
   * Keeps it until another one has it or `signal` aborts; then gives it back. An unreachable API server does not end
   * it: nobody can know of another holder meanwhile, and what is served goes on.
   */
  hold(signal: AbortSignal): Promise<LeaseLoss>;
  /** False before `acquire`, after a loss, and while the last renewal is older than 10 s: then nothing may be written. */
  isHeld(): boolean;
};

/** There is no namespace to make the Lease in, and nobody but an administrator makes it. */
export class NoNamespaceError extends Error {
  override readonly name = 'NoNamespaceError';
  readonly code = 'NO_NAMESPACE';
}

/** As client-go: how long a holder that is silent keeps it, and how long we believe in our own without renewing. */
const durationSeconds = 15;
const renewDeadlineMs = 10_000;
/** Twice within the deadline, so that one lost renewal is no loss. */
const renewEveryMs = 5_000;
const retryEveryMs = 2_000;
const requestTimeoutMs = 5_000;
const releaseTimeoutMs = 2_000;

type Observed = { readonly lease: LeaseObject; readonly sinceMs: number };
type Turn = 'held' | 'waiting' | 'taken';

/**
 * A coordination.k8s.io/v1 Lease as leader election: for liveness, not for safety (no fencing). Times in the record
 * are never compared with our clock; only "has it changed" counts, as in client-go. Every write is a compare-and-swap.
 */
export function makeLease({
  client,
  namespace,
  name,
  identity,
  clock,
  random,
  log,
}: {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'replace'>;
  readonly namespace: string;
  readonly name: string;
  /** Stable per host, so that a restart takes back its own lease; unlike any other host's. */
  readonly identity: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}): Lease {
  const resource = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' };
  const collection = resourcePath(resource, { namespace });
  const path = resourcePath(resource, { namespace, name });
  let observed: Observed | undefined;
  let heldUntilMs = Number.NEGATIVE_INFINITY;
  /** renewTime of our last writes: an answer may get lost, and then the record is ours although we do not know it. */
  let written: readonly string[] = [];

  const observe = (lease: LeaseObject): Observed => {
    const isSame = observed?.lease.metadata.resourceVersion === lease.metadata.resourceVersion;
    if (!isSame || observed === undefined) observed = { lease, sinceMs: clock.monotonic() };
    return observed;
  };

  const read = async (signal: AbortSignal): Promise<Observed | undefined> => {
    try {
      return observe(await client.get<LeaseObject>(path, { signal, timeoutMs: requestTimeoutMs }));
    } catch (error) {
      if (!isKubeError(error, 'NOT_FOUND')) throw error;
      observed = undefined;
      return undefined;
    }
  };

  const create = async (body: LeaseObject, options: RequestOptions): Promise<LeaseObject> => {
    try {
      return await client.create<LeaseObject>(collection, body, options);
    } catch (error) {
      if (!isKubeError(error, 'NOT_FOUND')) throw error;
      throw new NoNamespaceError(`there is no namespace ${namespace}`, { cause: error });
    }
  };

  /** Writes our claim over `base` (nothing: creates it). The time of the request, not of the answer, counts. */
  const claim = async (base: LeaseObject | undefined, signal: AbortSignal): Promise<void> => {
    const startedAt = clock.monotonic();
    const nowMs = clock.now() + random(); // by its microseconds we know our own writes from a namesake's
    const body = leaseBody({ namespace, name, base, identity, durationSeconds, nowMs });
    written = [...written, body.spec.renewTime ?? ''].slice(-5);
    const options = { signal, timeoutMs: requestTimeoutMs };
    observe(base === undefined ? await create(body, options) : await client.replace<LeaseObject>(path, body, options));
    heldUntilMs = startedAt + renewDeadlineMs;
  };

  const holderOf = ({ holderIdentity }: LeaseSpec): string => holderIdentity ?? '';

  /** One look at the record and, where it is free, one attempt at it. */
  const tryAcquire = async (signal: AbortSignal): Promise<Turn> => {
    const now = await read(signal);
    if (now !== undefined) {
      const { spec } = now.lease;
      const holder = holderOf(spec);
      const isFree = holder === '' || holder === identity;
      const silentMs = clock.monotonic() - now.sinceMs;
      if (!isFree && silentMs < (spec.leaseDurationSeconds ?? durationSeconds) * 1000) return 'waiting';
    }
    await claim(now?.lease, signal);
    return 'held';
  };

  const tryRenew = async (signal: AbortSignal): Promise<Turn> => {
    try {
      await claim(observed?.lease, signal);
      return 'held';
    } catch (error) {
      if (!isKubeError(error, 'CONFLICT', 'ALREADY_EXISTS', 'NOT_FOUND')) throw error;
    }
    const now = await read(signal); // somebody wrote it, or removed it
    if (now === undefined) return 'waiting';
    const isOurs = holderOf(now.lease.spec) === identity && written.includes(now.lease.spec.renewTime ?? '');
    return isOurs || holderOf(now.lease.spec) === '' ? 'waiting' : 'taken';
  };

  /** Says a trouble once, until it is another one or over. */
  const troubleLog = (): { readonly say: (error: unknown) => void; readonly over: () => void } => {
    let last: string | undefined;
    return {
      say: (error) => {
        const message = error instanceof Error ? error.message : String(error);
        if (message !== last) log.warn({ err: error, lease: name }, 'the lease cannot be read or written; trying on');
        last = message;
      },
      over: () => {
        if (last !== undefined) log.info({ lease: name }, 'the lease can be read and written again');
        last = undefined;
      },
    };
  };

  const release = async (): Promise<void> => {
    heldUntilMs = Number.NEGATIVE_INFINITY;
    if (observed === undefined) return;
    const body = leaseBody({
      namespace,
      name,
      base: observed.lease,
      identity: '',
      durationSeconds: 1,
      nowMs: clock.now(),
    });
    try {
      await client.replace(path, body, { signal: new AbortController().signal, timeoutMs: releaseTimeoutMs });
    } catch (error) {
      log.info({ err: error, lease: name }, 'the lease was not given back; it ends by itself');
    }
  };

  return {
    isHeld: () => clock.monotonic() < heldUntilMs,
    acquire: async (signal, onHolder = () => undefined) => {
      const trouble = troubleLog();
      let told: string | undefined;
      for (;;) {
        signal.throwIfAborted();
        try {
          if ((await tryAcquire(signal)) === 'held') return;
          trouble.over();
          const holder = observed === undefined ? '' : holderOf(observed.lease.spec);
          if (holder !== told) {
            log.info({ lease: name, holder }, 'waiting for the lease');
            onHolder(holder);
          }
          told = holder;
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof NoNamespaceError) throw error;
          // Two that reach for a free lease: one gets it, the other sees so at its next look.
          if (!isKubeError(error, 'CONFLICT', 'ALREADY_EXISTS')) trouble.say(error);
        }
        await clock.sleep(retryEveryMs * (1 + random() / 5), signal);
      }
    },
    hold: async (signal) => {
      const trouble = troubleLog();
      let waitMs = renewEveryMs;
      for (;;) {
        try {
          await clock.sleep(waitMs, signal);
          const turn = await tryRenew(signal);
          trouble.over();
          switch (turn) {
            case 'held':
              waitMs = renewEveryMs;
              break;
            case 'waiting':
              waitMs = waitMs === 0 ? retryEveryMs : 0; // free, or our own: at once again, with what was read
              break;
            case 'taken':
              heldUntilMs = Number.NEGATIVE_INFINITY;
              return { reason: 'taken', holder: observed === undefined ? '' : holderOf(observed.lease.spec) };
            default:
              assertNever(turn);
          }
        } catch (error) {
          if (signal.aborted) break;
          trouble.say(error);
          waitMs = retryEveryMs * (1 + random() / 5);
        }
      }
      await release();
      return { reason: 'released' };
    },
  };
}
