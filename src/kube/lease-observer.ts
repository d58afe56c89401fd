import {
  candidatesOf,
  defaultDurationSeconds,
  isReleased,
  isReleaseOf,
  type LeaseObject,
  type Tenure,
  tenureOf,
} from './lease-object.ts';

/** The holder of the Lease that `acquire` waits for. */
export type LeaseHolder = {
  readonly identity: string;
  /**
   * - `other`: another identity.
   * - `unknown`: this host's identity, but not written by this process: etcd was restored from a backup, or another
   *   process uses the identity. A renewal shows the latter.
   * - `namesake`: another process renews it with this host's identity: it uses a copy of the state directory.
   * - `copy`: this process wrote it, but not last: etcd was restored from a backup. It has renewed the Lease so recently that no other
   *   host can have taken it since.
   * - `former`: another identity held it when it was deleted or emptied by hand, or may have (empty: it was not seen). That host did
   *   not release it, so it serves until it notices, or until its Lease would have expired.
   */
  readonly kind: 'other' | 'unknown' | 'namesake' | 'copy' | 'former';
  /** Time until the Lease expires if it is not renewed; not positive: it has expired. */
  readonly expiresInMs: number;
};

/** The last accepted claim, and those of five minutes without an answer: the API server may have executed any of them. */
const mostClaims = 64;
/** For so long after a renewal no other host can have taken the Lease: it waits for the duration of the Lease, and a second is spare. */
const ownForMs = (defaultDurationSeconds - 1) * 1000;
/** A candidate renews its entry every 10 s, and may miss a few times. */
const candidateGoneMs = 60_000;

/** A candidate reads the Lease every 2.4 s at most. A holder creates a Lease again within 5 s, and it may be deleted once more. */
const silentMs = 5_000;
/**
 * After an outage of the API server for all hosts, a holder that lives renews the Lease within this time. It is given once: each answer
 * that takes seconds comes after a silence, too, and a dead holder would keep the Lease.
 */
const firstRenewalMs = 7_000;
const durationMs = defaultDurationSeconds * 1000;

/** Of another host, which may have held the Lease while this host was cut off, or before this process started. */
const unseen: Tenure = { lease: '', transitions: 0, holder: '' };

/** The knowledge of this process about a Lease, from repeated reading. */
export type LeaseObserver = {
  /** Accepts the Lease from a read or an answer; `undefined`: there is none. */
  see(lease: LeaseObject | undefined): void;
  /** The Lease as last seen. */
  readonly lease: LeaseObject | undefined;
  /** The same, also after it was deleted. */
  readonly lastLease: LeaseObject | undefined;
  /**
   * Must be called before a claim is sent, so that the Lease is recognized as furiwake's own even if the answer is
   * lost.
   */
  willClaim(renewTime: string): void;
  /**
   * The claim that was sent at `startedAtMs` (monotonic) was accepted, and its answer seen: from now on, a Lease with this identity
   * that this process did not write is not from before a restart.
   */
  hasClaimed(startedAtMs: number): void;
  /** Its holder; `undefined`: it is held by this process, released or deleted. */
  holder(): LeaseHolder | undefined;
  /**
   * The Lease does not exist, or its holder was removed by hand, and this process has never seen a holder: it cannot know whether
   * there is one.
   */
  isUnsure(): boolean;
  /** Only if {@link LeaseObserver.isUnsure}: another host may have held the Lease until now. */
  assumeFormer(): void;
  /** The candidates in the Lease whose entries have not changed for a minute. */
  goneCandidates(): readonly string[];
};

/**
 * Times in the Lease are never compared with the local clock: it expires if it was not renewed for its duration
 * according to the local `monotonic` clock, as in client-go.
 */
export function makeLeaseObserver({
  identity,
  monotonic,
  hasOthers = () => false,
  onOther,
}: {
  readonly identity: string;
  /** Time in ms, see `Clock.monotonic`. */
  readonly monotonic: () => number;
  /** Whether an earlier process of this host has seen another holder or candidate. */
  readonly hasOthers?: () => boolean;
  /**
   * Called with the identity of each other holder or candidate when it is first seen; with this host's own for a
   * namesake.
   */
  readonly onOther: (identity: string) => void;
}): LeaseObserver {
  let seen: LeaseObject | undefined;
  let lastLease: LeaseObject | undefined;
  let renewedAtMs = 0;
  /** The holder has been given more time since then. */
  let isExtended = false;
  let seenAtMs = 0;
  /** renewTime of this process's last accepted claim, and of those since then. */
  let ours: readonly string[] = [];
  /** When the last accepted claim was sent, and the acquireTime of this process's tenure. */
  let held: { readonly atMs: number; readonly acquireTime: string | undefined } | undefined;
  /** The last tenure of another holder, and since when the Lease is without one that was not released. */
  let former:
    | { readonly tenure: Tenure; readonly goneAtMs: number | undefined; readonly isProlonged: boolean }
    | undefined;
  let hasNamesake = false;
  const others = new Set<string>();
  let entries: ReadonlyMap<string, { readonly text: string; readonly sinceMs: number }> = new Map();

  const isUnknown = ({ spec }: LeaseObject): boolean =>
    spec.holderIdentity === identity &&
    (held !== undefined || former !== undefined) &&
    !ours.includes(spec.renewTime ?? '');

  // Only this process writes its acquireTime.
  const isCopyOfOurs = (lease: LeaseObject): boolean =>
    isUnknown(lease) && lease.spec.acquireTime === held?.acquireTime && monotonic() - (held?.atMs ?? 0) < ownForMs;

  // Its holder renews it every 5 s, also when another client has shortened the duration.
  const expiryOf = ({ spec }: LeaseObject): number =>
    renewedAtMs + Math.max(spec.leaseDurationSeconds ?? 0, defaultDurationSeconds) * 1000;

  const setFormer = (tenure: Tenure, isProlonged = false): void => {
    former = { tenure, goneAtMs: monotonic(), isProlonged };
  };

  /**
   * `isChanged`: other than by a candidate. `silenceMs`: meanwhile another host may have held the Lease, and it may have been
   * deleted once more. A short silence counts once: each answer that takes seconds comes after one, too.
   */
  const noteFormer = (
    lease: LeaseObject | undefined,
    { isChanged, silenceMs }: { readonly isChanged: boolean; readonly silenceMs: number },
  ): void => {
    const tenure = lease && tenureOf(lease);
    if (tenure !== undefined && tenure.holder !== '') {
      if (tenure.holder === identity) return;
      // From now on a Lease of this host that it did not claim again is from a backup.
      former = { tenure, goneAtMs: undefined, isProlonged: false };
      ours = [];
    } else if (former !== undefined) {
      const isNever = held === undefined && former.tenure === unseen;
      if (lease !== undefined && (isNever ? isReleased(lease) : isReleaseOf(lease, former.tenure))) former = undefined;
      else if (former.goneAtMs === undefined || isChanged || silenceMs > durationMs) setFormer(former.tenure);
      else if (silenceMs > silentMs && !former.isProlonged) setFormer(former.tenure, true);
    } else if (held !== undefined && (others.size > 0 || hasOthers()) && monotonic() - held.atMs >= ownForMs) {
      setFormer(unseen);
    }
  };

  const noteOther = (other: string): void => {
    if (other === '' || others.has(other)) return;
    others.add(other);
    onOther(other);
  };

  return {
    see: (lease) => {
      const last = seen;
      seen = lease;
      lastLease = lease ?? lastLease;
      // Only a renewal is a sign of life of the holder: candidates also change the object.
      const isRenewed =
        lease !== undefined &&
        (last?.spec.holderIdentity !== lease.spec.holderIdentity || last?.spec.renewTime !== lease.spec.renewTime);
      const silenceMs = monotonic() - seenAtMs;
      const extendedMs = monotonic() + firstRenewalMs - durationMs;
      if (isRenewed) [renewedAtMs, isExtended] = [monotonic(), false];
      else if (silenceMs > silentMs && !isExtended && extendedMs > renewedAtMs)
        [renewedAtMs, isExtended] = [extendedMs, true];
      const isGone = last !== undefined && lease === undefined;
      noteFormer(lease, { isChanged: isRenewed || isGone, silenceMs });
      seenAtMs = monotonic();
      if (lease === undefined) return;
      const { holderIdentity = '' } = lease.spec;
      hasNamesake = isUnknown(lease) && (hasNamesake || (isRenewed && last !== undefined && isUnknown(last)));
      const texts = candidatesOf(lease);
      const candidates = Object.keys(texts);
      entries = new Map(
        Object.entries(texts).map(([candidate, text]) => {
          const known = entries.get(candidate);
          return [candidate, known?.text === text ? known : { text, sinceMs: monotonic() }];
        }),
      );
      for (const each of [holderIdentity, ...candidates]) if (each !== identity) noteOther(each);
      // A claim removes this host's entry from the candidates, so an existing one is that of a namesake.
      const isOurs = holderIdentity === identity && !isUnknown(lease);
      if (hasNamesake || (isOurs && candidates.includes(identity))) noteOther(identity);
    },
    get lease() {
      return seen;
    },
    get lastLease() {
      return lastLease;
    },
    willClaim: (renewTime) => {
      // The first one was accepted: after an outage of any length the Lease still has it.
      ours = [...ours.slice(0, 1), ...ours.slice(1).slice(2 - mostClaims), renewTime];
    },
    hasClaimed: (startedAtMs) => {
      ours = ours.slice(-1);
      held = { atMs: startedAtMs, acquireTime: seen?.spec.acquireTime };
      former = undefined;
    },
    holder: () => {
      const holderIdentity = seen?.spec.holderIdentity ?? '';
      if (seen === undefined || holderIdentity === '') {
        if (former?.goneAtMs === undefined) return undefined;
        const expiresInMs = former.goneAtMs + durationMs - monotonic();
        return expiresInMs > 0 ? { identity: former.tenure.holder, kind: 'former', expiresInMs } : undefined;
      }
      if (holderIdentity === identity && !isUnknown(seen)) return undefined;
      if (isCopyOfOurs(seen)) return { identity, kind: 'copy', expiresInMs: 0 };
      return {
        identity: holderIdentity,
        kind: holderIdentity !== identity ? 'other' : hasNamesake ? 'namesake' : 'unknown',
        expiresInMs: expiryOf(seen) - monotonic(),
      };
    },
    isUnsure: () => {
      const isWithoutHolder = seen === undefined || ((seen.spec.holderIdentity ?? '') === '' && !isReleased(seen));
      return isWithoutHolder && held === undefined && former === undefined;
    },
    assumeFormer: () => setFormer(unseen),
    goneCandidates: () => {
      const latestMs = monotonic() - candidateGoneMs;
      return [...entries].flatMap(([candidate, { sinceMs }]) => (sinceMs <= latestMs ? candidate : []));
    },
  };
}
