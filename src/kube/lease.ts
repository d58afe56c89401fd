import { makeBackoff } from '../async/backoff.ts';
import { makeTrouble } from '../async/trouble.ts';
import { messageOf } from '../async/error-words.ts';
import { assertNever } from '../core/assert-never.ts';
import { isKubeError } from './errors.ts';
import {
  type Acquisition,
  type LeaseAttemptsDeps,
  makeLeaseAttempts,
  NoNamespaceError,
  renewDeadlineMs,
} from './lease-attempts.ts';
import { keptAddressesOf } from './lease-object.ts';
import { type LeaseHolder, makeLeaseObserver } from './lease-observer.ts';

/**
 * The Lease names another holder, or has this host's identity but was not written by this process (see
 * {@link LeaseHolder}), or another holder took and released it (`holder` is empty).
 */
export type LeaseLoss = {
  readonly holder: string;
  /** It is an older copy of the Lease of this process: no other host holds it, but the cluster is that of a backup. */
  readonly isCopy: boolean;
};

export type Lease = {
  /**
   * Waits until this process holds the Lease. At the first call it takes a Lease with its own identity at once (the
   * process restarted), and any other one when its holder has released it, or when it has expired: also one that was deleted or
   * emptied by hand, for its holder does not know yet. While it waits, this host is a candidate that the holder can see.
   * `onHolder` is called for each holder, and when its kind changes. Failures of the API are logged and retried;
   * rejects when `signal` aborts, and with {@link NoNamespaceError}.
   */
  acquire(signal: AbortSignal, onHolder?: (holder: LeaseHolder) => void): Promise<Acquisition>;
  /**
   * Renews the Lease until it is lost or `signal` aborts (`undefined`). An unreachable API server does not end it.
   * `onTried` is called at the start and after each attempt to renew it.
   */
  hold(signal: AbortSignal, onTried?: () => void): Promise<LeaseLoss | undefined>;
  /**
   * Another host can take it at once. `isKeeper`: this one keeps its addresses, which the Lease notes. Without effect if this process does
   * not hold it; a failure is logged.
   */
  release(isKeeper?: boolean): Promise<void>;
  /** The identities of other hosts that keep their addresses although they do not hold the Lease, when it last existed. */
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

/** With the timeout of a renewal less than the deadline, so that one failed renewal does not lose the Lease. */
const renewEveryMs = 5_000;
const leastWaitMs = 500;
/** Several attempts must fit into the time until the deadline. */
const renewRetry = { firstMs: 500, mostMs: 2_000 };
const retryEveryMs = 2_000;
/** A candidate tries to take a Lease that has expired for so long. */
const expiredForMs = 100;
/**
 * A coordination.k8s.io/v1 Lease as leader election, after client-go. Every write is a compare-and-swap.
 *
 * A Lease alone does not fence: a holder that cannot renew it must itself stop at `holderUntilMs`, before a candidate may
 * take over. `onOther` reports candidates, which write themselves into the Lease.
 */
export function makeLease(
  deps: Omit<LeaseAttemptsDeps, 'observer' | 'onClaimed' | 'keepsAddresses'> & {
    /** See `LeaseAttemptsDeps`. */
    readonly keepsAddresses?: () => boolean;
    /** Whether an earlier process of this host has seen another holder or candidate. */
    readonly hasOthers?: () => boolean;
    /**
     * Called with the identity of each other holder or candidate when it is first seen; with this host's own for a
     * namesake.
     */
    readonly onOther?: (identity: string) => void;
    /** Called when the Lease was taken or renewed. */
    readonly onClaimed?: () => void;
  },
): Lease {
  const {
    name,
    identity,
    clock,
    random,
    log,
    hasOthers = () => false,
    onOther = () => undefined,
    onClaimed = () => undefined,
    keepsAddresses = () => false,
  } = deps;
  const observer = makeLeaseObserver({ identity, monotonic: () => clock.monotonic(), hasOthers, onOther });
  const attempts = makeLeaseAttempts({ ...deps, observer, onClaimed, keepsAddresses });
  const lasting = makeTrouble({ what: 'access to the Lease', log, clock });
  let trouble: string | undefined;

  const failed = (error: unknown): void => {
    trouble = messageOf(error);
    lasting.failed(error, { lease: name });
  };
  const succeeded = (): void => {
    trouble = undefined;
    lasting.over();
  };

  return {
    isHolder: () => clock.monotonic() < attempts.holderUntilMs(),
    holderUntilMs: () => attempts.holderUntilMs(),
    holder: () => observer.holder(),
    hostsWithAddresses: () =>
      (observer.lastLease ? keptAddressesOf(observer.lastLease) : []).filter((each) => each !== identity),
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
          const acquired = await attempts.acquire(tell, signal);
          succeeded();
          if (acquired !== undefined) return acquired;
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof NoNamespaceError) throw error;
          // Two candidates try to take a free Lease: one gets it, the other notices at its next read.
          if (!isKubeError(error, 'CONFLICT', 'ALREADY_EXISTS')) failed(error);
        }
        const retryInMs = retryEveryMs * (1 + random() / 5);
        const expiresInMs = observer.holder()?.expiresInMs ?? 0;
        // At the end of the Lease, not up to a wait after it.
        await clock.sleep(expiresInMs > 0 ? Math.min(retryInMs, expiresInMs + expiredForMs) : retryInMs, signal);
      }
    },
    hold: async (signal, onTried = () => undefined) => {
      const backoff = makeBackoff(renewRetry);
      let waitMs = renewEveryMs;
      for (;;) {
        onTried();
        try {
          await clock.sleep(waitMs, signal);
          const startedAtMs = clock.monotonic();
          const state = await attempts.renew(signal);
          succeeded();
          backoff.reset();
          switch (state) {
            case 'own':
              waitMs = waitAfter(clock.monotonic() - startedAtMs);
              break;
            case 'free':
              waitMs = waitMs === 0 ? retryEveryMs : 0; // again at once, over what was read
              break;
            case 'others':
              return { holder: observer.holder()?.identity ?? '', isCopy: observer.holder()?.kind === 'copy' };
            default:
              assertNever(state);
          }
        } catch (error) {
          if (signal.aborted) return undefined;
          failed(error);
          waitMs = backoff.next();
        }
      }
    },
    release: (isKeeper = false) => attempts.release(isKeeper),
  };
}

/**
 * A candidate that has written its entry meanwhile costs the next renewal three answers: refused, read, accepted. So where answers
 * are slow it comes sooner: all of it must fit into the time until the deadline, which counts from the request of the last one.
 */
function waitAfter(answerMs: number): number {
  return Math.max(leastWaitMs, Math.min(renewEveryMs, renewDeadlineMs - leastWaitMs - 4 * answerMs));
}
