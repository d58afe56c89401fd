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

/** metav1.MicroTime: RFC 3339 with six digits of the second; the last three are the fraction of `ms`. */
export function microTime(ms: number): string {
  const microseconds = String(Math.trunc((ms % 1) * 1000)).padStart(3, '0');
  return new Date(Math.trunc(ms)).toISOString().replace('Z', `${microseconds}Z`);
}

/**
 * The lease with `identity` as its holder (empty: given back), to be written over `base`; what others put into its
 * metadata stays. Another holder than before counts as a transition.
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
