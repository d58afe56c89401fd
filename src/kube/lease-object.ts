import * as z from 'zod';
import type { KubeObject } from './object.ts';

/** coordination.k8s.io/v1 LeaseSpec; times are MicroTime. */
export type LeaseSpec = {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
};

export type LeaseObject = KubeObject & { readonly spec: LeaseSpec };

/** One tenure of the Lease: it begins whenever a process takes the Lease, and renewals and the release keep it. */
export type Tenure = {
  /** UID of the Lease: a Lease that was deleted and created again counts from 0. */
  readonly lease: string;
  readonly transitions: number;
  /** Empty: the Lease was released, by the holder of this tenure. */
  readonly holder: string;
};

export function tenureOf({ metadata, spec }: LeaseObject): Tenure {
  return {
    lease: metadata.uid ?? '',
    transitions: spec.leaseTransitions ?? 0,
    holder: spec.holderIdentity ?? '',
  };
}

/** The same tenure; that it was released meanwhile makes no difference. */
export function isSameTenure(a: Tenure, b: Tenure): boolean {
  return a.lease === b.lease && a.transitions === b.transitions;
}

/** Whether a holder released the Lease. False if it was emptied by hand: then its holder does not know yet. */
export function isReleased({ spec }: LeaseObject): boolean {
  return (spec.holderIdentity ?? '') === '' && spec.leaseDurationSeconds === releasedSeconds;
}

/** Whether the holder of this tenure, or a later one, released the Lease. False if the Lease is from a backup. */
export function isReleaseOf(lease: LeaseObject, tenure: Tenure): boolean {
  const { lease: uid, transitions } = tenureOf(lease);
  return isReleased(lease) && uid === tenure.lease && transitions >= tenure.transitions;
}

/** As in client-go: the duration of a Lease that its holder has released. */
export const releasedSeconds = 1;
/** As in client-go: how long a holder that does not renew the Lease keeps it. */
export const defaultDurationSeconds = 15;

/** Annotation of the Lease: the identity of each candidate and when it last renewed its entry. */
const candidatesAnnotation = 'furiwake.dev/candidates';
const mostCandidates = 8;
/**
 * Annotation of the Lease: the identity of each host that keeps its addresses without furiwake or without the Lease, and since when. A
 * holder that has always been alone writes its entry while it serves, so it stays when furiwake is stopped or killed there, or is cut
 * off. The host removes it when it sees another one, becomes a candidate or is cleaned up.
 */
export const keptAddressesAnnotation = 'furiwake.dev/kept-addresses';

/** JSON: an identity → RFC 3339. */
type LeaseEntries = Readonly<Record<string, string>>;
const entriesSchema = z.record(z.string(), z.string());

function entriesOf({ metadata }: LeaseObject, annotation: string): LeaseEntries {
  try {
    return entriesSchema.parse(JSON.parse(metadata.annotations?.[annotation] ?? '{}'));
  } catch {
    return {}; // damaged: the next entry replaces it
  }
}

/** The candidates in the Lease, with the time of their last renewal; none if the annotation cannot be read. */
export function candidatesOf(lease: LeaseObject): LeaseEntries {
  return entriesOf(lease, candidatesAnnotation);
}

/** The hosts that keep their addresses; none if the annotation cannot be read. */
export function keptAddressesOf(lease: LeaseObject): readonly string[] {
  return Object.keys(entriesOf(lease, keptAddressesAnnotation));
}

/**
 * The Lease with one more candidate, or with its entry renewed; if there are too many, the oldest are dropped. A candidate has
 * withdrawn its addresses.
 */
export function withCandidate(lease: LeaseObject, identity: string, nowMs: number): LeaseObject {
  const { [identity]: _, ...others } = candidatesOf(lease);
  const kept = Object.entries(others)
    .sort(([, a], [, b]) => (a < b ? 1 : -1))
    .slice(0, mostCandidates - 1);
  const candidates = { ...Object.fromEntries(kept), [identity]: new Date(nowMs).toISOString() };
  return withEntries(withoutKeptAddresses(lease, identity), candidatesAnnotation, candidates);
}

/** The Lease without the note that this host keeps its addresses; the same object if it has none. */
export function withoutKeptAddresses(lease: LeaseObject, identity: string): LeaseObject {
  return withoutEntries(lease, keptAddressesAnnotation, [identity]);
}

function withEntries(lease: LeaseObject, annotation: string, entries: LeaseEntries): LeaseObject {
  const annotations = { ...lease.metadata.annotations, [annotation]: JSON.stringify(entries) };
  return { ...lease, metadata: { ...lease.metadata, annotations } };
}

function withoutEntries(lease: LeaseObject, annotation: string, identities: readonly string[]): LeaseObject {
  const all = Object.entries(entriesOf(lease, annotation));
  const kept = all.filter(([identity]) => !identities.includes(identity));
  return kept.length === all.length ? lease : withEntries(lease, annotation, Object.fromEntries(kept));
}

/** metav1.MicroTime: RFC 3339 with six digits of the second; the last three are the fraction of `ms`. */
export function microTime(ms: number): string {
  const microseconds = String(Math.trunc((ms % 1) * 1000)).padStart(3, '0');
  return new Date(Math.trunc(ms)).toISOString().replace('Z', `${microseconds}Z`);
}

/**
 * The Lease with `identity` as its holder (empty: released), to be written over `base`. The metadata of `base` stays, but
 * the holder and those that are `gone` are removed from the candidates, and the entry of `host`, which writes it, follows
 * `keepsAddresses`. A new holder counts as a transition, and so does a new process with the identity of the holder: it does not know what
 * that one decided.
 */
export function leaseBody({
  namespace,
  name,
  base,
  deleted,
  identity,
  durationSeconds,
  isRenewal = false,
  gone = [],
  host = identity,
  keepsAddresses = false,
  nowMs,
}: {
  readonly namespace: string;
  readonly name: string;
  readonly base: LeaseObject | undefined;
  /** Without `base`: the Lease before it was deleted. Its notes that hosts keep their addresses stay. */
  readonly deleted?: LeaseObject | undefined;
  readonly identity: string;
  readonly durationSeconds: number;
  /** By the process that took the Lease. */
  readonly isRenewal?: boolean;
  /** Candidates that no longer renew their entries. */
  readonly gone?: readonly string[];
  /** The host that writes it. */
  readonly host?: string;
  /** It keeps its addresses without furiwake or without the Lease. */
  readonly keepsAddresses?: boolean;
  readonly nowMs: number;
}): LeaseObject {
  const now = microTime(nowMs);
  const isSame = isRenewal && base?.spec.holderIdentity === identity;
  const noted = deleted === undefined ? {} : entriesOf(deleted, keptAddressesAnnotation);
  const fresh: LeaseObject = { metadata: { name, namespace }, spec: {} };
  const made = Object.keys(noted).length === 0 ? fresh : withEntries(fresh, keptAddressesAnnotation, noted);
  const { metadata } = annotated(base ?? made, {
    gone: [identity, ...gone],
    host,
    keepsAddresses,
    now,
  });
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata,
    spec: {
      ...base?.spec,
      holderIdentity: identity,
      leaseDurationSeconds: durationSeconds,
      acquireTime: (isSame ? base?.spec.acquireTime : undefined) ?? now,
      renewTime: now,
      leaseTransitions: (base?.spec.leaseTransitions ?? 0) + (isSame || identity === '' || base === undefined ? 0 : 1),
    },
  };
}

function annotated(
  base: LeaseObject,
  {
    gone,
    host,
    keepsAddresses,
    now,
  }: {
    readonly gone: readonly string[];
    readonly host: string;
    readonly keepsAddresses: boolean;
    readonly now: string;
  },
): LeaseObject {
  const lease = withoutEntries(base, candidatesAnnotation, gone);
  if (!keepsAddresses) return withoutKeptAddresses(lease, host);
  const entries = entriesOf(lease, keptAddressesAnnotation);
  return host in entries ? lease : withEntries(lease, keptAddressesAnnotation, { ...entries, [host]: now });
}
