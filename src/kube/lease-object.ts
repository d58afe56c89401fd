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

/** As in client-go: how long a holder that does not renew the Lease keeps it. */
export const defaultDurationSeconds = 15;

/** Annotation of the Lease: JSON, the identity of each candidate and when it last renewed its entry (RFC 3339). */
const candidatesAnnotation = 'furiwake.dev/candidates';
const mostCandidates = 8;
const candidatesSchema = z.record(z.string(), z.string());

/** The candidates in the Lease, with the time of their last renewal; none if the annotation cannot be read. */
export function candidatesOf({ metadata }: LeaseObject): Readonly<Record<string, string>> {
  try {
    return candidatesSchema.parse(JSON.parse(metadata.annotations?.[candidatesAnnotation] ?? '{}'));
  } catch {
    return {}; // damaged: the next candidate replaces it
  }
}

/** The Lease with one more candidate, or with its entry renewed; if there are too many, the oldest are dropped. */
export function withCandidate(lease: LeaseObject, identity: string, nowMs: number): LeaseObject {
  const { [identity]: _, ...others } = candidatesOf(lease);
  const kept = Object.entries(others)
    .sort(([, a], [, b]) => (a < b ? 1 : -1))
    .slice(0, mostCandidates - 1);
  return withCandidates(lease, { ...Object.fromEntries(kept), [identity]: new Date(nowMs).toISOString() });
}

function withCandidates(lease: LeaseObject, candidates: Readonly<Record<string, string>>): LeaseObject {
  const annotations = { ...lease.metadata.annotations, [candidatesAnnotation]: JSON.stringify(candidates) };
  return { ...lease, metadata: { ...lease.metadata, annotations } };
}

function withoutCandidates(lease: LeaseObject, identities: readonly string[]): LeaseObject {
  const all = Object.entries(candidatesOf(lease));
  const kept = all.filter(([identity]) => !identities.includes(identity));
  return kept.length === all.length ? lease : withCandidates(lease, Object.fromEntries(kept));
}

/** metav1.MicroTime: RFC 3339 with six digits of the second; the last three are the fraction of `ms`. */
export function microTime(ms: number): string {
  const microseconds = String(Math.trunc((ms % 1) * 1000)).padStart(3, '0');
  return new Date(Math.trunc(ms)).toISOString().replace('Z', `${microseconds}Z`);
}

/**
 * The Lease with `identity` as its holder (empty: released), to be written over `base`. The metadata of `base` stays, but
 * the holder and those that are `gone` are removed from the candidates. A new holder counts as a transition, and so does a new process with the
 * identity of the holder: it does not know what that one decided.
 */
export function leaseBody({
  namespace,
  name,
  base,
  identity,
  durationSeconds,
  isRenewal = false,
  gone = [],
  nowMs,
}: {
  readonly namespace: string;
  readonly name: string;
  readonly base: LeaseObject | undefined;
  readonly identity: string;
  readonly durationSeconds: number;
  /** By the process that took the Lease. */
  readonly isRenewal?: boolean;
  /** Candidates that no longer renew their entries. */
  readonly gone?: readonly string[];
  readonly nowMs: number;
}): LeaseObject {
  const now = microTime(nowMs);
  const isSame = isRenewal && base?.spec.holderIdentity === identity;
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: base === undefined ? { name, namespace } : withoutCandidates(base, [identity, ...gone]).metadata,
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
