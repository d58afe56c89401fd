import type { Clock, Random } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { KubeClient } from './client.ts';
import { isKubeError } from './errors.ts';
import {
  defaultDurationSeconds,
  isSameTenure,
  leaseBody,
  type LeaseObject,
  releasedSeconds,
  type Tenure,
  tenureOf,
  withCandidate,
} from './lease-object.ts';
import type { LeaseHolder, LeaseObserver } from './lease-observer.ts';
import { resourcePath } from './paths.ts';

/** The tenure that a process begins, and the one before it; `undefined`: there was no Lease. */
export type Acquisition = { readonly before: Tenure | undefined; readonly tenure: Tenure };

/** What a renewal has found; `free`: it has no holder, or was deleted. */
export type LeaseState = 'own' | 'free' | 'others';

/**
 * Single attempts on the Lease; when to make them is decided in lease.ts. Every write is a compare-and-swap over the Lease as last seen.
 */
export type LeaseAttempts = {
  /**
   * Reads the Lease once, and tries once to take it if it is free. Otherwise this host becomes a candidate, and `onHolder` is called.
   * Throws {@link NoNamespaceError}.
   */
  acquire(onHolder: (holder: LeaseHolder) => void, signal: AbortSignal): Promise<Acquisition | undefined>;
  renew(signal: AbortSignal): Promise<LeaseState>;
  /** Tries again after a conflict: a candidate wrote its entry, or the answer to the last renewal was lost. A failure is logged. */
  release(isKeeper: boolean): Promise<void>;
  /** Until when this process relies on its last claim, monotonic ms. */
  holderUntilMs(): number;
};

/** The namespace of the Lease does not exist; furiwake does not create it. */
export class NoNamespaceError extends Error {
  override readonly name = 'NoNamespaceError';
  readonly code = 'NO_NAMESPACE';
}

/** As in client-go: how long a holder relies on its Lease without a renewal. */
export const renewDeadlineMs = 10_000;
/** Of each request of a renewal. With the interval between renewals less than the deadline: one without an answer loses no Lease. */
const renewTimeoutMs = 3_000;
/**
 * Of all others, and of renewals when the deadline is over or the last one took longer than `renewTimeoutMs`. Each timeout costs a
 * connection, and the handshake of the next one takes as long as an answer.
 */
const requestTimeoutMs = 5_000;
const releaseTimeoutMs = 2_000;
const releaseTries = 3;
/** How often a candidate renews its entry. */
const candidateEveryMs = 10_000;

export type LeaseAttemptsDeps = {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'replace'>;
  readonly namespace: string;
  readonly name: string;
  /** Stable per host, so that a restarted process takes its own Lease again; different from that of every other host. */
  readonly identity: string;
  readonly observer: LeaseObserver;
  /** Whether another host may serve Services now. Asked where there is no Lease, by a process that has not seen a holder. */
  readonly mayBeServed: (signal: AbortSignal) => Promise<boolean>;
  /** Whether this host keeps its addresses if furiwake ends now, or loses the Lease without noticing. Asked at each claim. */
  readonly keepsAddresses: () => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly onClaimed: () => void;
};

export function makeLeaseAttempts(deps: LeaseAttemptsDeps): LeaseAttempts {
  const { client, namespace, name, identity, observer, mayBeServed, clock, random, log, onClaimed } = deps;
  const resource = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' };
  const collection = resourcePath(resource, { namespace });
  const path = resourcePath(resource, { namespace, name });
  let holderUntilMs = Number.NEGATIVE_INFINITY;
  let candidateUntilMs = Number.NEGATIVE_INFINITY;
  /** How long the answer to the last claim took. */
  let claimMs = 0;
  /** The last one of this process. */
  let tenure: Tenure | undefined;

  const renewalTimeoutMs = (): number =>
    clock.monotonic() < holderUntilMs && claimMs <= renewTimeoutMs ? renewTimeoutMs : requestTimeoutMs;

  const read = async (signal: AbortSignal, timeoutMs = requestTimeoutMs): Promise<void> => {
    try {
      observer.see(await client.get<LeaseObject>(path, { signal, timeoutMs }));
    } catch (error) {
      if (!isKubeError(error, 'NOT_FOUND')) throw error;
      observer.see(undefined);
    }
  };

  const replace = (body: LeaseObject, signal: AbortSignal, timeoutMs = requestTimeoutMs): Promise<LeaseObject> =>
    client.replace<LeaseObject>(path, body, { signal, timeoutMs });

  const create = async (body: LeaseObject, signal: AbortSignal, timeoutMs: number): Promise<LeaseObject> => {
    try {
      return await client.create<LeaseObject>(collection, body, { signal, timeoutMs });
    } catch (error) {
      if (!isKubeError(error, 'NOT_FOUND')) throw error;
      throw new NoNamespaceError(`namespace ${namespace} does not exist`, { cause: error });
    }
  };

  /** Writes a claim over the Lease as last seen, or creates it. It is held from the time of the request on. */
  const claim = async (signal: AbortSignal, { isRenewal }: { readonly isRenewal: boolean }): Promise<Tenure> => {
    const startedAt = clock.monotonic();
    const base = observer.lease;
    const nowMs = clock.now() + random(); // its microseconds distinguish own claims from those of a namesake
    const durationSeconds = defaultDurationSeconds;
    const timeoutMs = isRenewal ? renewalTimeoutMs() : requestTimeoutMs;
    const gone = observer.goneCandidates();
    const isKeeper = deps.keepsAddresses();
    const body = leaseBody({
      namespace,
      name,
      base,
      deleted: observer.lastLease,
      identity,
      durationSeconds,
      isRenewal,
      gone,
      keepsAddresses: isKeeper,
      nowMs,
    });
    observer.willClaim(body.spec.renewTime ?? '');
    const written = await (base === undefined ? create : replace)(body, signal, timeoutMs);
    observer.see(written);
    observer.hasClaimed(startedAt);
    claimMs = clock.monotonic() - startedAt;
    holderUntilMs = startedAt + renewDeadlineMs;
    tenure = tenureOf(written);
    onClaimed();
    return tenure;
  };

  /**
   * Registers this host as a candidate: a holder that is cut off from the API server must know that it is not alone.
   */
  const beCandidate = async (lease: LeaseObject, signal: AbortSignal): Promise<void> => {
    if (clock.monotonic() < candidateUntilMs) return;
    observer.see(await replace(withCandidate(lease, identity, clock.now()), signal));
    candidateUntilMs = clock.monotonic() + candidateEveryMs;
  };

  return {
    acquire: async (onHolder, signal) => {
      await read(signal);
      if (observer.isUnsure() && (await mayBeServed(signal))) observer.assumeFormer();
      const holder = observer.holder();
      if (holder !== undefined && holder.expiresInMs > 0) {
        onHolder(holder);
        if (observer.lease !== undefined) await beCandidate(observer.lease, signal);
        return undefined;
      }
      const before = observer.lease && tenureOf(observer.lease);
      return { before, tenure: await claim(signal, { isRenewal: false }) };
    },
    renew: async (signal) => {
      // Without a Lease the claim compares no version: another host may have created it, and it may have been deleted again.
      if (observer.lease === undefined) await read(signal, renewalTimeoutMs());
      try {
        if (observer.holder() === undefined) {
          await claim(signal, { isRenewal: true });
          return 'own';
        }
      } catch (error) {
        if (!isKubeError(error, 'CONFLICT', 'ALREADY_EXISTS', 'NOT_FOUND')) throw error;
        await read(signal, renewalTimeoutMs()); // it was changed, or deleted
      }
      const found = observer.lease && tenureOf(observer.lease);
      // Another host took it while this one was cut off, and released it.
      const isPassedOver = found?.holder === '' && tenure !== undefined && !isSameTenure(found, tenure);
      if (observer.holder() === undefined && !isPassedOver) return 'free';
      holderUntilMs = Number.NEGATIVE_INFINITY;
      return 'others';
    },
    release: async (isKeeper) => {
      holderUntilMs = Number.NEGATIVE_INFINITY;
      const { signal } = new AbortController();
      const isOwn = (): boolean => observer.lease?.spec.holderIdentity === identity && observer.holder() === undefined;
      try {
        for (let tries = 1; isOwn(); tries++) {
          const base = observer.lease;
          const nowMs = clock.now();
          const body = leaseBody({
            namespace,
            name,
            base,
            identity: '',
            durationSeconds: releasedSeconds,
            host: identity,
            keepsAddresses: isKeeper,
            nowMs,
          });
          try {
            observer.see(await replace(body, signal, releaseTimeoutMs));
            return;
          } catch (error) {
            if (!isKubeError(error, 'CONFLICT') || tries >= releaseTries) throw error;
            await read(signal);
          }
        }
      } catch (error) {
        log.info({ err: error, lease: name }, 'could not release the Lease; it will expire');
      }
    },
    holderUntilMs: () => holderUntilMs,
  };
}
