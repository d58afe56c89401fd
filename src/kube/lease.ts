import { makeBackoff } from '../async/backoff.ts';
import { makeTrouble } from '../async/trouble.ts';
import { assertNever } from '../core/assert-never.ts';
import type { Clock, Random } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { KubeClient } from './client.ts';
import { isKubeError } from './errors.ts';
import {
  defaultDurationSeconds,
  isSameTenure,
  keptAddressesOf,
  leaseBody,
  type LeaseObject,
  type Tenure,
  tenureOf,
  withCandidate,
} from './lease-object.ts';
import { type LeaseHolder, makeLeaseObserver } from './lease-observer.ts';
import { resourcePath } from './paths.ts';

/**
 * The Lease names another holder, or has this host's identity but was not written by this process (see
 * {@link LeaseHolder}), or another holder took and released it (`holder` is empty).
 */
export type LeaseLoss = { readonly holder: string };

/** The tenure that a process begins, and the one before it; `undefined`: there was no Lease. */
export type Acquisition = { readonly before: Tenure | undefined; readonly tenure: Tenure };

export type Lease = {
  /**
   * Waits until this process holds the Lease. At the first call it takes a Lease with its own identity at once (the
   * process restarted), and any other one when it is released, deleted, or has expired. While it waits, this host is a
   * candidate that the holder can see. `onHolder` is called for each holder, and when its kind changes. Failures of the
   * API are logged and retried; rejects when `signal` aborts, and with {@link NoNamespaceError}.
   */
  acquire(signal: AbortSignal, onHolder?: (holder: LeaseHolder) => void): Promise<Acquisition>;
  /**
   * Renews the Lease until it is lost or `signal` aborts (`undefined`). An unreachable API server does not end it.
   * `onTried` is called at the start and after each attempt to renew it.
   */
  hold(signal: AbortSignal, onTried?: () => void): Promise<LeaseLoss | undefined>;
  /** Another host can take it at once; `keepsAddresses` is noted in it. Without effect if this process does not hold it; a failure is logged. */
  release(keepsAddresses?: boolean): Promise<void>;
  /** The identities of other hosts that have released the Lease and kept their addresses, when it was last read. */
  hostsWithAddresses(): readonly string[];
  /** False before `acquire`, after a loss, and if the last renewal is older than 10 s: then furiwake must not write. */
  isHolder(): boolean;
  /** The end of the Lease without a renewal, monotonic ms: 5 s before another host may take it over. */
  holderUntilMs(): number;
  /** The holder when the Lease was last read; `undefined`: this process, or none. */
  holder(): LeaseHolder | undefined;
  /** Why the Lease cannot be read or written now; `undefined`: it can. */
  trouble(): string | undefined;
};

/** The namespace of the Lease does not exist; furiwake does not create it. */
export class NoNamespaceError extends Error {
  override readonly name = 'NoNamespaceError';
  readonly code = 'NO_NAMESPACE';
}

/** As in client-go: how long a holder relies on its Lease without a renewal. */
const renewDeadlineMs = 10_000;
/** With its timeout and the first wait less than the deadline, so that one failed renewal does not lose the Lease. */
const renewEveryMs = 5_000;
const renewTimeoutMs = 3_000;
/** Several attempts must fit into the time until the deadline. */
const renewRetry = { firstMs: 1_000, mostMs: 2_000 };
const retryEveryMs = 2_000;
const requestTimeoutMs = 5_000;
const releaseTimeoutMs = 2_000;
const releaseTries = 3;
/** How often a candidate renews its entry. */
const candidateEveryMs = 10_000;

type LeaseState = 'own' | 'free' | 'others';

/**
 * A coordination.k8s.io/v1 Lease as leader election, after client-go. Every write is a compare-and-swap.
 *
 * A Lease alone does not fence: a holder that cannot renew it must itself stop at `holderUntilMs`, before a candidate may
 * take over. `onOther` reports candidates, which write themselves into the Lease.
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
  onClaimed = () => undefined,
}: {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'replace'>;
  readonly namespace: string;
  readonly name: string;
  /**
   * Stable per host, so that a restarted process takes its own Lease again; different from that of every other host.
   */
  readonly identity: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /**
   * Called with the identity of each other holder or candidate when it is first seen; with this host's own for a
   * namesake.
   */
  readonly onOther?: (identity: string) => void;
  /** Called when the Lease was taken or renewed. */
  readonly onClaimed?: () => void;
}): Lease {
  const resource = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' };
  const collection = resourcePath(resource, { namespace });
  const path = resourcePath(resource, { namespace, name });
  const observer = makeLeaseObserver({ identity, monotonic: () => clock.monotonic(), onOther });
  const lasting = makeTrouble({ what: 'access to the Lease', log, monotonic: () => clock.monotonic() });
  let holderUntilMs = Number.NEGATIVE_INFINITY;
  let candidateUntilMs = Number.NEGATIVE_INFINITY;
  let trouble: string | undefined;
  /** The last one of this process. */
  let tenure: Tenure | undefined;

  const failed = (error: unknown): void => {
    trouble = error instanceof Error ? error.message : String(error);
    lasting.failed(error, { lease: name });
  };
  const succeeded = (): void => {
    trouble = undefined;
    lasting.over();
  };

  const read = async (signal: AbortSignal): Promise<void> => {
    try {
      observer.see(await client.get<LeaseObject>(path, { signal, timeoutMs: requestTimeoutMs }));
    } catch (error) {
      if (!isKubeError(error, 'NOT_FOUND')) throw error;
      observer.see(undefined);
    }
  };

  const replace = (body: LeaseObject, signal: AbortSignal, timeoutMs = requestTimeoutMs): Promise<LeaseObject> =>
    client.replace<LeaseObject>(path, body, { signal, timeoutMs });

  const create = async (body: LeaseObject, signal: AbortSignal): Promise<LeaseObject> => {
    try {
      return await client.create<LeaseObject>(collection, body, { signal, timeoutMs: requestTimeoutMs });
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
    const timeoutMs = isRenewal ? renewTimeoutMs : requestTimeoutMs;
    const gone = observer.goneCandidates();
    const body = leaseBody({ namespace, name, base, identity, durationSeconds, isRenewal, gone, nowMs });
    observer.willClaim(body.spec.renewTime ?? '');
    const written = base === undefined ? await create(body, signal) : await replace(body, signal, timeoutMs);
    observer.see(written);
    observer.hasClaimed();
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

  /** Reads the Lease once, and tries once to take it if it is free; `undefined`: it is not. */
  const tryAcquire = async (
    onHolder: (holder: LeaseHolder) => void,
    signal: AbortSignal,
  ): Promise<Acquisition | undefined> => {
    await read(signal);
    const holder = observer.holder();
    if (observer.lease !== undefined && holder !== undefined && holder.expiresInMs > 0) {
      onHolder(holder);
      await beCandidate(observer.lease, signal);
      return undefined;
    }
    const before = observer.lease && tenureOf(observer.lease);
    return { before, tenure: await claim(signal, { isRenewal: false }) };
  };

  const tryRenew = async (signal: AbortSignal): Promise<LeaseState> => {
    try {
      await claim(signal, { isRenewal: true });
      return 'own';
    } catch (error) {
      if (!isKubeError(error, 'CONFLICT', 'ALREADY_EXISTS', 'NOT_FOUND')) throw error;
    }
    await read(signal); // it was changed, or deleted
    if (observer.holder() !== undefined) return 'others';
    const found = observer.lease && tenureOf(observer.lease);
    // Another host took it while this one was cut off, and released it.
    const isPassedOver = found?.holder === '' && tenure !== undefined && !isSameTenure(found, tenure);
    return isPassedOver ? 'others' : 'free';
  };

  const release = async (keepsAddresses = false): Promise<void> => {
    holderUntilMs = Number.NEGATIVE_INFINITY;
    const { signal } = new AbortController();
    try {
      // Retries after a conflict: a candidate wrote its entry, or the answer to the last renewal was lost.
      for (
        let tries = 1;
        observer.lease?.spec.holderIdentity === identity && observer.holder() === undefined;
        tries++
      ) {
        const base = observer.lease;
        const keptBy = keepsAddresses ? identity : undefined;
        const body = leaseBody({ namespace, name, base, identity: '', durationSeconds: 1, keptBy, nowMs: clock.now() });
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
  };

  return {
    isHolder: () => clock.monotonic() < holderUntilMs,
    holderUntilMs: () => holderUntilMs,
    holder: () => observer.holder(),
    hostsWithAddresses: () =>
      (observer.lease ? keptAddressesOf(observer.lease) : []).filter((each) => each !== identity),
    trouble: () => trouble,
    acquire: async (signal, onHolder = () => undefined) => {
      let told: LeaseHolder | undefined;
      const tell = (holder: LeaseHolder): void => {
        if (told?.identity !== holder.identity || told.kind !== holder.kind) onHolder(holder);
        told = holder;
      };
      for (;;) {
        signal.throwIfAborted();
        try {
          const acquired = await tryAcquire(tell, signal);
          succeeded();
          if (acquired !== undefined) return acquired;
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof NoNamespaceError) throw error;
          // Two candidates try to take a free Lease: one gets it, the other notices at its next read.
          if (!isKubeError(error, 'CONFLICT', 'ALREADY_EXISTS')) failed(error);
        }
        await clock.sleep(retryEveryMs * (1 + random() / 5), signal);
      }
    },
    hold: async (signal, onTried = () => undefined) => {
      const backoff = makeBackoff(renewRetry);
      let waitMs = renewEveryMs;
      for (;;) {
        onTried();
        try {
          await clock.sleep(waitMs, signal);
          const turn = await tryRenew(signal);
          succeeded();
          backoff.reset();
          switch (turn) {
            case 'own':
              waitMs = renewEveryMs;
              break;
            case 'free':
              waitMs = waitMs === 0 ? retryEveryMs : 0; // again at once, over what was read
              break;
            case 'others':
              holderUntilMs = Number.NEGATIVE_INFINITY;
              return { holder: observer.holder()?.identity ?? '' };
            default:
              assertNever(turn);
          }
        } catch (error) {
          if (signal.aborted) return undefined;
          failed(error);
          waitMs = backoff.next();
        }
      }
    },
    release,
  };
}
