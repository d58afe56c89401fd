import { candidatesOf, defaultDurationSeconds, type LeaseObject } from './lease-object.ts';

/** Who has the Lease that `acquire` waits for. */
export type Holder = {
  readonly identity: string;
  /**
   * - `other`: another identity.
   * - `unknown`: our own identity, but this process did not write it: etcd was restored from a backup, or another process
   *   uses our identity. Whether it is renewed shows which.
   * - `namesake`: another process renews it under our identity: a copy of our state directory is in use.
   */
  readonly kind: 'other' | 'unknown' | 'namesake';
  /** In how long the Lease expires if it is not renewed; not positive: it has expired. */
  readonly expiresInMs: number;
};

/** What this process knows of a Lease, from reading it again and again. */
export type LeaseObserver = {
  /** Takes the Lease as it was read or answered; `undefined`: there is none. */
  see(lease: LeaseObject | undefined): void;
  /** As it was last seen. */
  readonly lease: LeaseObject | undefined;
  /** To be called before our claim is sent: the Lease is recognized as ours even if the answer gets lost. */
  willClaim(renewTime: string): void;
  /** Our claim was accepted: a Lease of our identity that we did not write is no longer that of our process before a restart. */
  hasClaimed(): void;
  /** Its holder; `undefined`: it is ours, released or deleted. */
  holder(): Holder | undefined;
};

/**
 * Times in the Lease are never compared with our clock: it expires when it was not renewed for its duration by our own
 * `monotonic` clock, as in client-go.
 */
export function makeLeaseObserver({
  identity,
  monotonic,
  onOther,
}: {
  readonly identity: string;
  /** Time in ms, see `Clock.monotonic`. */
  readonly monotonic: () => number;
  /** Called with the identity of each other holder or candidate, when it is first seen; with our own for a namesake. */
  readonly onOther: (identity: string) => void;
}): LeaseObserver {
  let seen: LeaseObject | undefined;
  let renewedAtMs = 0;
  /** renewTime of our last claims. */
  let ours: readonly string[] = [];
  let hasHeld = false;
  let hasNamesake = false;
  const others = new Set<string>();

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
      // Only a renewal is a sign of life of the holder: candidates change the object, too.
      const { holderIdentity = '', renewTime } = lease.spec;
      const isRenewed = last?.spec.holderIdentity !== holderIdentity || last.spec.renewTime !== renewTime;
      if (isRenewed) renewedAtMs = monotonic();
      hasNamesake = isUnknown(lease) && (hasNamesake || (isRenewed && last !== undefined && isUnknown(last)));
      const candidates = Object.keys(candidatesOf(lease));
      for (const each of [holderIdentity, ...candidates]) if (each !== identity) noteOther(each);
      // Our own claims remove our entry from the candidates: one that is there is that of a namesake.
      const isOurs = holderIdentity === identity && !isUnknown(lease);
      if (hasNamesake || (isOurs && candidates.includes(identity))) noteOther(identity);
    },
    get lease() {
      return seen;
    },
    willClaim: (renewTime) => {
      ours = [...ours, renewTime].slice(-5);
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
  };
}
