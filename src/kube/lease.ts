import { makeTrouble } from '../async/trouble.ts';
import { assertNever } from '../core/assert-never.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { KubeClient, RequestOptions } from './client.ts';
import { isKubeError } from './errors.ts';
import { candidatesOf, type LeaseObject, leaseBody, type LeaseSpec, withCandidate } from './lease-object.ts';
import { resourcePath } from './paths.ts';

/**
 * Why `hold` ended: another process has the Lease (it may bear our own identity: a second process of this host, or a host
 * with a copy of our state directory), or we released it.
 */
export type LeaseLoss = { readonly reason: 'taken'; readonly holder: string } | { readonly reason: 'released' };

export type Lease = {
  /**
   * Waits until the Lease is ours. At the first call a Lease of our own identity is taken back at once (we crashed);
   * any other when it is empty, gone, or unchanged for its whole duration by our own clock. While it waits, this host is
   * a candidate that the holder sees. `onHolder` is called once per holder. Failures of the API are logged and waited
   * out; rejects when `signal` aborts, and with {@link NoNamespaceError}.
   */
  acquire(signal: AbortSignal, onHolder?: (holder: string) => void): Promise<void>;
  /** Keeps it until another process has it or `signal` aborts; then releases it. An unreachable API server does not end it. */
  hold(signal: AbortSignal): Promise<LeaseLoss>;
  /** False before `acquire`, after a loss, and while the last renewal is older than 10 s: then nothing may be written. */
  isHeld(): boolean;
  /** Until when it is held without a renewal, monotonic ms: 5 s before another host may take it over. */
  heldUntilMs(): number;
  /** Why the Lease cannot be read or renewed now; `undefined`: it can. */
  trouble(): string | undefined;
};

/** The namespace of the Lease does not exist, and furiwake does not create it. */
export class NoNamespaceError extends Error {
  override readonly name = 'NoNamespaceError';
  readonly code = 'NO_NAMESPACE';
}

/** As client-go: how long a silent holder keeps it, and how long we rely on our own without renewing. */
const durationSeconds = 15;
const renewDeadlineMs = 10_000;
/** Twice within the deadline, so that one lost renewal is no loss. */
const renewEveryMs = 5_000;
const retryEveryMs = 2_000;
const requestTimeoutMs = 5_000;
const releaseTimeoutMs = 2_000;
/** How often a candidate renews its entry. */
const candidateEveryMs = 10_000;

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
  onOther = () => undefined,
}: {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'replace'>;
  readonly namespace: string;
  readonly name: string;
  /** Stable per host, so that a restart takes back its own lease; unlike any other host's. */
  readonly identity: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Called with each identity of another holder or candidate, when it is first seen. */
  readonly onOther?: (identity: string) => void;
}): Lease {
  const resource = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' };
  const collection = resourcePath(resource, { namespace });
  const path = resourcePath(resource, { namespace, name });
  let observed: Observed | undefined;
  let heldUntilMs = Number.NEGATIVE_INFINITY;
  /** renewTime of our last writes: an answer may get lost, and then the record is ours although we do not know it. */
  let written: readonly string[] = [];
  /** From then on a Lease of our identity that we did not write is that of a namesake. */
  let hasHeld = false;
  let candidateUntilMs = Number.NEGATIVE_INFINITY;
  const others = new Set<string>();
  const lasting = makeTrouble({ what: 'renewing the Lease', log, monotonic: () => clock.monotonic() });
  let trouble: string | undefined;

  const failed = (error: unknown): void => {
    trouble = error instanceof Error ? error.message : String(error);
    lasting.failed(error, { lease: name });
  };
  const succeeded = (): void => {
    trouble = undefined;
    lasting.over();
  };

  const noteOthers = (lease: LeaseObject): void => {
    for (const each of [lease.spec.holderIdentity ?? '', ...Object.keys(candidatesOf(lease))]) {
      if (each === '' || each === identity || others.has(each)) continue;
      others.add(each);
      onOther(each);
    }
  };

  const observe = (lease: LeaseObject): Observed => {
    // A candidate's entry changes the object, too, and is no sign of life of the holder.
    const { holderIdentity, renewTime } = observed?.lease.spec ?? {};
    const isSame =
      observed !== undefined && holderIdentity === lease.spec.holderIdentity && renewTime === lease.spec.renewTime;
    observed = { lease, sinceMs: isSame && observed !== undefined ? observed.sinceMs : clock.monotonic() };
    noteOthers(lease);
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
    hasHeld = true;
  };

  /** Makes this host known to the holder: one that is cut off from the API server must know that it is not alone. */
  const beCandidate = async ({ lease }: Observed, signal: AbortSignal): Promise<void> => {
    if (clock.monotonic() < candidateUntilMs) return;
    const options = { signal, timeoutMs: requestTimeoutMs };
    observe(await client.replace<LeaseObject>(path, withCandidate(lease, identity, clock.now()), options));
    candidateUntilMs = clock.monotonic() + candidateEveryMs;
  };

  const holderOf = ({ holderIdentity }: LeaseSpec): string => holderIdentity ?? '';

  /** One look at the record and, where it is free, one attempt at it. */
  const tryAcquire = async (signal: AbortSignal): Promise<Turn> => {
    const now = await read(signal);
    if (now !== undefined) {
      const { spec } = now.lease;
      const holder = holderOf(spec);
      const isOwn = holder === identity && (!hasHeld || written.includes(spec.renewTime ?? ''));
      const silentMs = clock.monotonic() - now.sinceMs;
      if (holder !== '' && !isOwn && silentMs < (spec.leaseDurationSeconds ?? durationSeconds) * 1000) {
        await beCandidate(now, signal);
        return 'waiting';
      }
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
    const now = await read(signal); // it was changed, or removed
    if (now === undefined) return 'waiting';
    const isOurs = holderOf(now.lease.spec) === identity && written.includes(now.lease.spec.renewTime ?? '');
    return isOurs || holderOf(now.lease.spec) === '' ? 'waiting' : 'taken';
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
      log.info({ err: error, lease: name }, 'could not release the Lease; it will expire');
    }
  };

  return {
    isHeld: () => clock.monotonic() < heldUntilMs,
    heldUntilMs: () => heldUntilMs,
    trouble: () => trouble,
    acquire: async (signal, onHolder = () => undefined) => {
      let told: string | undefined;
      for (;;) {
        signal.throwIfAborted();
        try {
          const turn = await tryAcquire(signal);
          succeeded();
          if (turn === 'held') return;
          const holder = observed === undefined ? '' : holderOf(observed.lease.spec);
          if (holder !== told) {
            onHolder(holder);
          }
          told = holder;
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof NoNamespaceError) throw error;
          // Two that reach for a free lease: one gets it, the other sees so at its next look.
          if (!isKubeError(error, 'CONFLICT', 'ALREADY_EXISTS')) failed(error);
        }
        await clock.sleep(retryEveryMs * (1 + random() / 5), signal);
      }
    },
    hold: async (signal) => {
      let waitMs = renewEveryMs;
      for (;;) {
        try {
          await clock.sleep(waitMs, signal);
          const turn = await tryRenew(signal);
          succeeded();
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
          failed(error);
          waitMs = retryEveryMs * (1 + random() / 5);
        }
      }
      await release();
      return { reason: 'released' };
    },
  };
}
