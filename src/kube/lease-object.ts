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

/** On the Lease: the identities that wait for it, each with when it last said so. The holder thus knows of them. */
const candidatesAnnotation = 'furiwake.dev/candidates';
const mostCandidates = 8;
const candidatesSchema = z.record(z.string(), z.string());

/** The candidates that the Lease names; none where the annotation is not readable. */
export function candidatesOf({ metadata }: LeaseObject): Readonly<Record<string, string>> {
  try {
    return candidatesSchema.parse(JSON.parse(metadata.annotations?.[candidatesAnnotation] ?? '{}'));
  } catch {
    return {}; // not ours, or damaged: the next candidate writes it anew
  }
}

/** The Lease with one candidate more, or with its time renewed; the oldest go where there are too many. */
export function withCandidate(lease: LeaseObject, identity: string, nowMs: number): LeaseObject {
  const { [identity]: _, ...others } = candidatesOf(lease);
  const kept = Object.entries(others)
    .sort(([, a], [, b]) => (a < b ? 1 : -1))
    .slice(0, mostCandidates - 1);
  const candidates = { ...Object.fromEntries(kept), [identity]: new Date(nowMs).toISOString() };
  const annotations = { ...lease.metadata.annotations, [candidatesAnnotation]: JSON.stringify(candidates) };
  return { ...lease, metadata: { ...lease.metadata, annotations } };
}

/** metav1.MicroTime: RFC 3339 with six digits of the second; the last three are the fraction of `ms`. */
export function microTime(ms: number): string {
  const microseconds = String(Math.trunc((ms % 1) * 1000)).padStart(3, '0');
  return new Date(Math.trunc(ms)).toISOString().replace('Z', `${microseconds}Z`);
}

/**
 * The Lease with `identity` as its holder (empty: released), to be written over `base`, whose metadata stays. Another
 * holder than before counts as a transition.
 */
export function leaseBody({
  namespace,
  name,
  base,
  identity,
  durationSeconds,
  nowMs,
}: {
  readonly namespace: string;
  readonly name: string;
  readonly base: LeaseObject | undefined;
  readonly identity: string;
  readonly durationSeconds: number;
  readonly nowMs: number;
}): LeaseObject {
  const now = microTime(nowMs);
  const isSame = base?.spec.holderIdentity === identity;
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: base?.metadata ?? { name, namespace },
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
