import type { Eligibility } from '../addresses/eligibility.ts';
import { ourFinalizers } from '../model/contract.ts';
import type { Ingress, Service } from '../model/service.ts';
import type { DesiredStatus } from './desired.ts';

/** The next write to a Service. Finalizers and status are one request each. */
export type Write =
  | { readonly kind: 'finalizers'; readonly finalizers: readonly string[] }
  | { readonly kind: 'status'; readonly status: DesiredStatus };

export type WriteInput = {
  readonly service: Service;
  readonly eligibility: Eligibility;
  /** `undefined` if not known yet. */
  readonly desired: DesiredStatus | undefined;
  /** A host still carries a listener of the Service. */
  readonly isProgrammed: boolean;
};

const nothingPublished: DesiredStatus = { ingress: [], conditions: [] };

/**
 * Compares the present state with the desired one and decides the next write; `undefined` if nothing differs.
 *
 *   ours      finalizers (before anything exists) → status
 *   leaving   wait until no listener is programmed → empty the status → remove the finalizers
 */
export function nextWrite({ service, eligibility, desired, isProgrammed }: WriteInput): Write | undefined {
  switch (eligibility) {
    case 'ours': {
      const missing = ourFinalizers.filter((name) => !service.finalizers.includes(name));
      if (missing.length > 0) return { kind: 'finalizers', finalizers: [...service.finalizers, ...missing] };
      return desired === undefined || isSameStatus(service.status, desired)
        ? undefined
        : { kind: 'status', status: desired };
    }
    case 'leaving': {
      if (isProgrammed) return undefined;
      const rest = service.finalizers.filter((name) => !ourFinalizers.includes(name));
      const vanishes = service.isDeleting && rest.length === 0;
      if (!vanishes && !isSameStatus(service.status, nothingPublished))
        return { kind: 'status', status: nothingPublished };
      return { kind: 'finalizers', finalizers: rest };
    }
    case 'occupied':
    case 'foreign':
      return undefined;
  }
}

/** True if both have the same content. Ignores `lastTransitionTime`, which follows from the rest. */
export function isSameStatus(a: DesiredStatus, b: DesiredStatus): boolean {
  return (
    isSameIngress(a.ingress, b.ingress) &&
    isSameList(
      a.conditions,
      b.conditions,
      (x, y) =>
        x === y || (x.type === y.type && x.status === y.status && x.reason === y.reason && x.message === y.message),
    )
  );
}

/** True if both publish the same addresses with the same ports. */
export function isSameIngress(a: readonly Ingress[], b: readonly Ingress[]): boolean {
  return isSameList(
    a,
    b,
    (x, y) =>
      x.ip === y.ip &&
      x.hostname === y.hostname &&
      x.ipMode === y.ipMode &&
      isSameList(x.ports, y.ports, (p, q) => p.port === q.port && p.protocol === q.protocol && p.error === q.error),
  );
}

function isSameList<T>(a: readonly T[], b: readonly T[], isSame: (x: T, y: T) => boolean): boolean {
  return a.length === b.length && a.every((item, index) => isSame(item, b[index] as T));
}
