import { untilAborted } from '../../src/async/abort.ts';
import { superviseAll } from '../../src/async/supervise-all.ts';
import type { Term } from '../../src/controller/controller.ts';
import { type LeadershipDeps, leadAsHolder, mayServeWithoutLease } from '../../src/daemon/leadership.ts';
import { loadTenureRecord } from '../../src/daemon/tenure-record.ts';
import type { LeaseObject } from '../../src/kube/lease-object.ts';
import { filesOf } from '../sim/harness.ts';
import { type LogLine, recordLog } from '../sim/observers.ts';
import { type VirtualClock, virtualClock } from '../sim/virtual-clock.ts';
import { type LeaseCluster, makeLeaseCluster } from './lease-cluster.ts';

/** One host that runs `leadAsHolder`. */
export type Host = {
  /** Whether it announces its addresses and accepts new connections. */
  readonly isServing: boolean;
  /** When its kernel removes its addresses if furiwake is dead. */
  readonly answersUntilMs: number | undefined;
  /** The same, also of addresses of an earlier process; -Infinity: it has none. */
  readonly endMs: number;
  /** Whether it answers for its addresses now. */
  readonly answers: boolean;
  /** Other hosts that may answer for its addresses, as the Lease says. */
  readonly keepers: readonly string[];
  /** It serves on without a Lease, because it has always been alone. */
  readonly isCutOff: boolean;
  /** `keepers`, at each begin of serving. */
  readonly servedBeside: readonly (readonly string[])[];
  /** Whether it has seen another holder or candidate. */
  readonly knowsOthers: boolean;
  /** Each change of `isServing`, in order. */
  readonly changes: readonly boolean[];
  /** How often the work of a holder began. */
  readonly terms: number;
  readonly isWorking: boolean;
  /** The present term; publishes nothing by itself with `publishes: false`. */
  readonly term: Term | undefined;
  readonly log: readonly LogLine[];
  readonly ended: Promise<void>;
};

export type Scene = { readonly cluster: LeaseCluster; readonly clock: VirtualClock; readonly stop: AbortController };

export function makeScene(): Scene {
  return { cluster: makeLeaseCluster(), clock: virtualClock(), stop: new AbortController() };
}

/**
 * `knowsOthers`: it has recorded another candidate before. `files`: of its state directory. `publishes`: each term records
 * and publishes its first plan at once. `leftUntilMs`: when the kernel removes the addresses of an earlier process; it keeps them until
 * then, unless this process extends them or withdraws.
 */
export function startLeading(
  { cluster, clock, stop }: Scene,
  identity: string,
  {
    knowsOthers = false,
    onLeaseLoss = 'withdraw',
    stopsTrafficOnExit = false,
    hasAddresses = true,
    publishes = true,
    files = new Map(),
    hostname = 'lb1',
    leftUntilMs = -Infinity,
    isFormerClassTaken = false,
    workEndsAfterMs = 0,
    stop: { signal } = stop,
  }: Partial<{
    knowsOthers: boolean;
    onLeaseLoss: 'withdraw' | 'keep';
    stopsTrafficOnExit: boolean;
    /** It has addresses while it serves. */
    hasAddresses: boolean;
    publishes: boolean;
    files: Map<string, string>;
    hostname: string;
    leftUntilMs: number;
    isFormerClassTaken: boolean;
    /** As with a write that the API server does not answer. */
    workEndsAfterMs: number;
    stop: AbortController;
  }> = {},
): Host {
  const log = recordLog();
  const changes: boolean[] = [];
  let hasOthers = knowsOthers;
  let isServing = mayServeWithoutLease({ hasOthers: () => hasOthers, onLeaseLoss });
  let isDecided = isServing;
  let keptUntilMs: number | undefined;
  let keepers: readonly string[] = [];
  let isCutOff = false;
  const servedBeside: (readonly string[])[] = [];
  const endMs = (): number => {
    if (!isDecided) return leftUntilMs === Infinity ? -Infinity : leftUntilMs; // those without end are removed at the start
    return isServing ? (keptUntilMs ?? Infinity) : -Infinity;
  };
  let terms = 0;
  let isWorking = false;
  let present: Term | undefined;
  const lease = cluster.claimOf(identity, {
    clock,
    log,
    hasOthers: () => hasOthers,
    onOther: () => {
      hasOthers = true;
    },
    keepsAddresses: () =>
      mayServeWithoutLease({ hasOthers: () => hasOthers, onLeaseLoss }) && isServing && hasAddresses,
  });
  const lead = async (): Promise<void> => {
    const tenures = await loadTenureRecord({
      path: '/tenure',
      ledgerPath: '/ledger',
      leaseName: 'furiwake',
      identity,
      hostname,
      files: filesOf(files),
      clock,
      log,
    });
    const work = async (term: Term, inner: AbortSignal): Promise<void> => {
      terms += 1;
      isWorking = true;
      present = term;
      if (publishes) {
        term.recorded();
        term.published();
      }
      await untilAborted(inner);
      if (workEndsAfterMs > 0) await clock.sleep(workEndsAfterMs, signal);
      isWorking = false;
    };
    const deps: LeadershipDeps = {
      isFormerClassTaken,
      tenures,
      lease,
      shownLease: { namespace: 'ns', name: 'furiwake' },
      hasAddresses: () => isServing && hasAddresses,
      loadBalancerClass: 'furiwake.dev/haproxy',
      identity,
      setServing: (now) => {
        if (now !== isServing) changes.push(now);
        if (now && !isServing) servedBeside.push(keepers);
        isServing = now;
        isDecided = true;
      },
      keepAddressesUntil: (now) => {
        keptUntilMs = now;
      },
      setKeepers: (hosts) => {
        keepers = hosts;
      },
      setCutOff: (now) => {
        isCutOff = now;
      },
      hasOthers: () => hasOthers,
      onLeaseLoss,
      stopsTrafficOnExit,
      clock,
      log,
    };
    await superviseAll([(inner) => leadAsHolder(deps, work, inner), (inner) => tenures.run(inner)], signal);
  };
  const ended = lead();
  ended.catch(() => undefined);
  return {
    get isServing() {
      return isServing;
    },
    get answersUntilMs() {
      return keptUntilMs;
    },
    get endMs() {
      return endMs();
    },
    get answers() {
      // A furiwake that runs restores what the kernel removes.
      return (isServing && !signal.aborted) || clock.monotonic() < endMs();
    },
    changes,
    servedBeside,
    get knowsOthers() {
      return hasOthers;
    },
    get keepers() {
      return keepers;
    },
    get isCutOff() {
      return isCutOff;
    },
    get terms() {
      return terms;
    },
    get isWorking() {
      return isWorking;
    },
    get term() {
      return present;
    },
    log: log.lines,
    ended,
  };
}

export const leaseOf = (holderIdentity: string, renewTime: string): LeaseObject => ({
  metadata: { namespace: 'ns', name: 'furiwake' },
  spec: { holderIdentity, leaseDurationSeconds: 15, renewTime },
});

/** Another host, visible only through the Lease, which it renews every five seconds. */
export async function renewElsewhere({ cluster, clock }: Scene, identity: string, seconds: number): Promise<void> {
  for (let at = 0; at < seconds; at += 5) {
    cluster.lease = leaseOf(identity, `elsewhere ${clock.monotonic()}`);
    await clock.advance(5_000);
  }
}

export const messages = ({ log }: Host, level: string): readonly string[] =>
  log.filter((line) => line.level === level).map(({ message }) => message);
