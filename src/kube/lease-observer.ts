import { candidatesOf, defaultDurationSeconds, type LeaseObject } from './lease-object.ts';

/** The holder of the Lease that `acquire` waits for. */
export type LeaseHolder = {
  readonly identity: string;
  /**
   * - `other`: another identity.
   * - `unknown`: this host's identity, but not written by this process: etcd was restored from a backup, or another
   *   process uses the identity. A renewal shows the latter.
   * - `namesake`: another process renews it with this host's identity: it uses a copy of the state directory.
   */
  readonly kind: 'other' | 'unknown' | 'namesake';
  /** Time until the Lease expires if it is not renewed; not positive: it has expired. */
  readonly expiresInMs: number;
};

/** The claims of half a minute, while an API server is silent: it may still execute one of them. */
const mostClaims = 8;
/** A candidate renews its entry every 10 s, and may miss a few times. */
const candidateGoneMs = 60_000;

/** The knowledge of this process about a Lease, from repeated reading. */
export type LeaseObserver = {
  /** Accepts the Lease from a read or an answer; `undefined`: there is none. */
  see(lease: LeaseObject | undefined): void;
  /** The Lease as last seen. */
  readonly lease: LeaseObject | undefined;
  /**
   * Must be called before a claim is sent, so that the Lease is recognized as furiwake's own even if the answer is
   * lost.
   */
  willClaim(renewTime: string): void;
  /**
   * The claim was accepted: from now on, a Lease with this identity that this process did not write is not from before
   * a restart.
   */
  hasClaimed(): void;
  /** Its holder; `undefined`: it is held by this process, released or deleted. */
  holder(): LeaseHolder | undefined;
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
  onOther,
}: {
  readonly identity: string;
  /** Time in ms, see `Clock.monotonic`. */
  readonly monotonic: () => number;
  /**
   * Called with the identity of each other holder or candidate when it is first seen; with this host's own for a
   * namesake.
   */
  readonly onOther: (identity: string) => void;
}): LeaseObserver {
  let seen: LeaseObject | undefined;
  let renewedAtMs = 0;
  /** renewTime of this process's last claims. */
  let ours: readonly string[] = [];
  let hasHeld = false;
  let hasNamesake = false;
  const others = new Set<string>();
  let entries: ReadonlyMap<string, { readonly text: string; readonly sinceMs: number }> = new Map();

  const isUnknown = ({ spec }: LeaseObject): boolean =>
    spec.holderIdentity === identity && hasHeld && !ours.includes(spec.renewTime ?? '');

  const noteOther = (other: string): void => {
    if (other === '' || others.has(other)) return;
    others.add(other);
    onOther(other);
  };

  return {
    see: (lease) => {
      const last = seen;
      seen = lease;
      if (lease === undefined) return;
      // Only a renewal is a sign of life of the holder: candidates also change the object.
      const { holderIdentity = '', renewTime } = lease.spec;
      const isRenewed = last?.spec.holderIdentity !== holderIdentity || last.spec.renewTime !== renewTime;
      if (isRenewed) renewedAtMs = monotonic();
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
    willClaim: (renewTime) => {
      ours = [...ours, renewTime].slice(-mostClaims);
    },
    hasClaimed: () => {
      hasHeld = true;
    },
    holder: () => {
      const { holderIdentity = '', leaseDurationSeconds = defaultDurationSeconds } = seen?.spec ?? {};
      if (seen === undefined || holderIdentity === '' || (holderIdentity === identity && !isUnknown(seen)))
        return undefined;
      return {
        identity: holderIdentity,
        kind: holderIdentity !== identity ? 'other' : hasNamesake ? 'namesake' : 'unknown',
        expiresInMs: renewedAtMs + leaseDurationSeconds * 1000 - monotonic(),
      };
    },
    goneCandidates: () => {
      const latestMs = monotonic() - candidateGoneMs;
      return [...entries].flatMap(([candidate, { sinceMs }]) => (sinceMs <= latestMs ? candidate : []));
    },
  };
}
