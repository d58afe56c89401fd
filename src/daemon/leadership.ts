import { untilAborted } from '../async/abort.ts';
import { type Latch, makeLatch } from '../async/latch.ts';
import { superviseAll } from '../async/supervise-all.ts';
import type { Term } from '../controller/controller.ts';
import type { Lease, LeaseLoss } from '../kube/lease.ts';
import { type Acquisition, NoNamespaceError } from '../kube/lease-attempts.ts';
import type { LeaseHolder } from '../kube/lease-observer.ts';
import { assertNever } from '../core/assert-never.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { StartError } from './errors.ts';
import { hostOfIdentity, keptAddressesWords, noNamespaceAdvice, type ShownLease } from './lease-words.ts';
import type { TenureRecord } from './tenure-record.ts';

/**
 * Whether a host may serve while it does not hold the Lease: before it has read it, and after furiwake has ended. Not if
 * another host may hold it.
 */
export function mayServeWithoutLease({
  hasOthers,
  onLeaseLoss,
}: Pick<LeadershipDeps, 'hasOthers' | 'onLeaseLoss'>): boolean {
  return onLeaseLoss === 'keep' || !hasOthers();
}

/** The kernel counts the lifetime of an address in seconds; another host takes over 5 s after `holderUntilMs`. */
const spareMs = 2_000;

export type LeadershipDeps = {
  readonly lease: Lease;
  readonly shownLease: ShownLease;
  readonly loadBalancerClass: string;
  /** The identity of this host in the Lease. */
  readonly identity: string;
  /** Whether this host may announce its addresses and accept new connections. */
  readonly setServing: (isServing: boolean) => void;
  /** See `Agent.keepAddressesUntil`. */
  readonly keepAddressesUntil: (untilMs: number | undefined) => void;
  /** See `Agent.setKeepers`. */
  readonly setKeepers: (hosts: readonly string[]) => void;
  /** See `Agent.setCutOff`. */
  readonly setCutOff: (isCutOff: boolean) => void;
  /**
   * Another holder of the Lease, or candidate for it, was seen at some time: this host cannot know that it is alone.
   */
  readonly hasOthers: () => boolean;
  /** The last table of this host is of another class, which another host serves now. */
  readonly isFormerClassTaken: boolean;
  readonly tenures: Pick<TenureRecord, 'successionTo' | 'keep'>;
  /** Whether this host has addresses that stay when furiwake ends. */
  readonly hasAddresses: () => boolean;
  /** The action when the Lease is lost to another host. */
  readonly onLeaseLoss: 'withdraw' | 'keep';
  /** The caller removes the addresses from the host, and then releases the Lease. */
  readonly stopsTrafficOnExit: boolean;
  readonly clock: Clock;
  readonly log: Log;
};

/**
 * Acquires the Lease, does `work` while it is held, and begins again when it is lost. Two hosts never answer for one
 * address at the same time:
 *
 *   started, Lease not read      ─► serving if no other candidate was ever seen, otherwise as the earlier process left the host,
 *                                   until the lifetimes end (below)
 *   started with another class   ─► withdrawn until there is a table of this one, if another host serves the class of before
 *   waiting for another holder   ─► withdrawn
 *   waiting for its own identity ─► serving if no other candidate was ever seen, until a namesake renews the Lease
 *   waiting, no Lease found      ─► the same, until another holder is seen
 *   held, no table of the term   ─► serving the last table if no other host held the Lease in between, as far as the record of
 *                                   tenures says; without a record withdrawn if another host is known
 *   held, renewals succeed       ─► serving
 *   held, no renewal for 10 s    ─► serving if no other candidate was ever seen, but no address whose LAN lost its carrier before a
 *                                   probe; otherwise withdrawn: 5 s before another host may take over
 *   held, an older copy found    ─► serving while the last renewal lasts
 *   lost to another host         ─► withdrawn (or kept, with `--on-lease-loss keep`)
 *   furiwake ended or is dead    ─► if another candidate was ever seen, the kernel removes the addresses 2 s after the end
 *                                   of the last renewal
 *
 * Ends when `signal` aborts; then a host that was always alone releases the Lease, with a note that its addresses stay. One that was
 * not keeps it for a restart; another host takes over when it has expired. With `stopsTrafficOnExit` the caller
 * releases it. Throws the errors of `work`, and `StartError` if the namespace of the Lease does not exist.
 */
export async function leadAsHolder(deps: LeadershipDeps, work: Work, signal: AbortSignal): Promise<void> {
  const { lease, log } = deps;
  try {
    await leadTerms(deps, work, signal);
  } finally {
    const isLeft = !deps.stopsTrafficOnExit;
    if (isLeft && mayServeWithoutLease(deps)) await lease.release(deps.hasAddresses());
    else if (isLeft && lease.isHolder())
      log.info(
        {},
        'the Lease stays with this host for a restart; without one, the kernel removes the addresses within 12 s, and another host takes over within 17 s',
      );
  }
}

/** The work of one term, until its signal aborts. */
type Work = (term: Term, signal: AbortSignal) => Promise<void>;

async function leadTerms(deps: LeadershipDeps, work: Work, signal: AbortSignal): Promise<void> {
  const { lease, log, tenures } = deps;
  const keeps = deps.onLeaseLoss === 'keep';
  let isWithdrawn = false;
  let hasOtherTable = deps.isFormerClassTaken;
  if (hasOtherTable) deps.setServing(false);
  const withdraw = (): void => {
    if (keeps) return;
    isWithdrawn = true;
    deps.setServing(false);
  };
  const tried = makeLatch();
  /** -1: not set yet. */
  let keptUntilMs: number | undefined = -1;
  /** Of the last renewal; kept after a loss. */
  let holderUntilMs = -1;
  /** While this host takes an older Lease of its own again, it serves until the last renewal ends. */
  let servesUntilMs: number | undefined;
  const onTried = (): void => {
    tried.set();
    if (!keeps) deps.setKeepers(lease.hostsWithAddresses().map(hostOfIdentity));
    holderUntilMs = lease.holderUntilMs();
    const untilMs = mayServeWithoutLease(deps) ? undefined : lease.holderUntilMs() + spareMs;
    if (untilMs !== keptUntilMs) deps.keepAddressesUntil(untilMs);
    keptUntilMs = untilMs;
  };
  while (!signal.aborted) {
    deps.setCutOff(!keeps && !deps.hasOthers());
    const { before, tenure } = await acquire(deps, withdraw, servesUntilMs, signal);
    for (const host of lease.hostsWithAddresses())
      log.error({ host }, keptAddressesWords(host, deps.shownLease, deps.identity));
    const succession = tenures.successionTo(before);
    const lost = new AbortController();
    const inner = AbortSignal.any([signal, lost.signal]);
    // Not the last table, if another host may have given its addresses to other Services meanwhile.
    const isOwnTable = succession === 'own' || (!deps.hasOthers() && succession !== 'other');
    let hasTable = !hasOtherTable && (keeps || (!isWithdrawn && isOwnTable));
    if (!hasTable)
      log.info({}, 'the Lease is held: this host serves as soon as it knows the addresses of all Services');
    isWithdrawn = false;
    let isRenewed = true;
    const serve = (): void => {
      if (!inner.aborted) deps.setServing(hasTable && isRenewed);
    };
    onTried(); // no address without a lifetime
    deps.setCutOff(false);
    serve();
    let isRecorded = false;
    const term: Term = {
      isLedgerCurrent: succession === 'own',
      isFormerClassTaken: deps.isFormerClassTaken,
      recorded: () => {
        if (!isRecorded) tenures.keep(tenure);
        isRecorded = true;
      },
      published: () => {
        hasTable = true;
        hasOtherTable = false;
        serve();
      },
    };
    const onRenewed = (now: boolean): void => {
      isRenewed = now;
      if (now) log.info({}, `the Lease is renewed again${hasTable ? ': serving' : ''}`);
      serve();
    };
    await superviseAll(
      [
        (until) => work(term, until),
        (until) => fence(deps, tried, onRenewed, until),
        async (until) => {
          const loss = await lease.hold(until, onTried);
          if (loss === undefined) return;
          // A Lease with the host's own identity may be from an etcd backup, which must not cause an outage.
          const isKept = loss.isCopy || (loss.holder === deps.identity && !deps.hasOthers());
          if (!isKept) withdraw();
          servesUntilMs = isKept && !mayServeWithoutLease(deps) ? holderUntilMs : undefined;
          log[isKept ? 'warn' : 'error']({ holder: loss.holder, class: deps.loadBalancerClass }, lossWords(deps, loss));
          lost.abort(new Error('the Lease was lost'));
        },
      ],
      inner,
    );
  }
}

function lossWords({ identity, onLeaseLoss, hasOthers }: LeadershipDeps, { holder, isCopy }: LeaseLoss): string {
  if (isCopy) return 'the Lease is an older one of this host (was etcd restored from a backup?): traffic continues';
  const isSelf = holder === identity;
  const changed = 'the Lease was changed with the identity of this host (was etcd restored from a backup?)';
  const proof = 'until it is known whether another process renews the Lease';
  if (isSelf && !hasOthers()) return `${changed}: traffic continues; writes to the cluster wait ${proof}`;
  const what =
    onLeaseLoss === 'withdraw'
      ? 'its addresses are withdrawn, established connections continue'
      : 'it keeps its addresses (--on-lease-loss keep)';
  if (isSelf) return `${changed}: ${what}, ${proof}`;
  if (holder === '') return `another host may have held the Lease while this host was cut off; ${what}`;
  return `host ${hostOfIdentity(holder)} took over the Lease: this host no longer serves; ${what}`;
}

/** The message about the holder that this host waits for. */
function holderWords({ loadBalancerClass }: LeadershipDeps, { identity, kind, expiresInMs }: LeaseHolder): string {
  const seconds = Math.ceil(expiresInMs / 1000);
  switch (kind) {
    case 'other':
      return `host ${hostOfIdentity(identity)} holds the Lease for class ${loadBalancerClass}; taking over when it expires (in ${seconds} s unless renewed) or is released`;
    case 'former':
      return `the Lease was deleted or emptied while ${identity === '' ? 'another host may have' : `host ${hostOfIdentity(identity)}`} held it; taking it in ${seconds} s unless that host writes it again`;
    case 'copy': // not waited for
    case 'unknown':
      return `the Lease has the identity of this host, but this process did not write it; taking it in ${seconds} s unless another process renews it`;
    case 'namesake':
      return 'another process renews the Lease with the identity of this host: one state directory is a copy of the other, or both hosts have the same host name and machine ID. Stop furiwake on one of them, give it another host name if they are equal, delete its state directory, and start it again';
    default:
      return assertNever(kind);
  }
}

/** `servesUntilMs`: when this host withdraws if it does not hold the Lease by then; `undefined`: the holder decides. */
async function acquire(
  deps: LeadershipDeps,
  withdraw: () => void,
  servesUntilMs: number | undefined,
  signal: AbortSignal,
): Promise<Acquisition> {
  const { lease, shownLease, clock, log } = deps;
  const end = new AbortController();
  const withdrawAt = async (untilMs: number): Promise<void> => {
    const leftMs = untilMs - clock.monotonic();
    if (leftMs > 0) {
      await clock.sleep(leftMs, AbortSignal.any([signal, end.signal]));
      log.error({ err: lease.trouble() }, notRenewedWords);
    }
    deps.setServing(false);
  };
  if (servesUntilMs !== undefined) withdrawAt(servesUntilMs).catch(() => undefined); // it is held again
  try {
    return await lease.acquire(signal, (holder) => {
      const isSeen = holder.kind !== 'unknown' && holder.identity !== '';
      if (isSeen || deps.hasOthers()) withdraw();
      const level = holder.kind === 'namesake' ? 'error' : 'warn';
      log[level]({ holder: holder.identity, class: deps.loadBalancerClass }, holderWords(deps, holder));
    });
  } catch (error) {
    if (!(error instanceof NoNamespaceError)) throw error;
    throw new StartError(`namespace ${shownLease.namespace} of the Lease does not exist: ${noNamespaceAdvice}`, {
      cause: error,
    });
  } finally {
    end.abort();
  }
}

const notRenewedWords =
  'the Lease cannot be renewed, and another host may take it over: withdrawing the addresses of this host';

/**
 * Withdraws this host while its Lease is not renewed, unless it has always been alone. `tried` is set after each attempt to
 * renew it: that may also show another candidate.
 */
async function fence(
  { lease, setCutOff, hasOthers, onLeaseLoss, clock, log }: LeadershipDeps,
  tried: Latch,
  onRenewed: (isRenewed: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  if (onLeaseLoss === 'keep') return await untilAborted(signal);
  let isWithdrawn = false;
  for (;;) {
    const leftMs = lease.holderUntilMs() - clock.monotonic();
    setCutOff(leftMs <= 0 && !hasOthers());
    if (leftMs > 0) {
      if (isWithdrawn) onRenewed(true);
      isWithdrawn = false;
      await clock.sleep(leftMs, signal);
    } else {
      if (!isWithdrawn && hasOthers()) {
        isWithdrawn = true;
        log.error({ err: lease.trouble() }, notRenewedWords);
        onRenewed(false);
      }
      await tried.wait(signal);
    }
  }
}
