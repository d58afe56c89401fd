import { fieldManager, ownFinalizer, standardFinalizer } from '../model/contract.ts';
import type { Service } from '../model/service.ts';
import type { Site } from '../model/site.ts';

/**
 * Whose Service this is.
 *
 * - `ours`: we give it an address and serve it.
 * - `held`: it would be ours (no class, and we take those), but another manager holds its status: left alone, said.
 * - `leaving`: not ours any more (deleted, type or class changed) but a finalizer of ours is on it (the standard one is
 *   ours where we have a record): taken down and let go.
 * - `foreign`: none of our business.
 */
export type Eligibility = 'ours' | 'held' | 'leaving' | 'foreign';

/** `isRecorded`: our own record says that this Service (by UID) has an address from us. */
export function eligibilityOf(service: Service, site: Site, isRecorded: boolean): Eligibility {
  const wanted = wantsUs(service, site);
  if (wanted && !service.isDeleting) return isRecorded || !isHeldByAnother(service) ? 'ours' : 'held';
  const isBound =
    service.finalizers.includes(ownFinalizer) || (isRecorded && service.finalizers.includes(standardFinalizer));
  return isBound ? 'leaving' : 'foreign';
}

/** KEP-1959: a nil class means the default implementation, a set one means exactly that one. */
function wantsUs(service: Service, site: Site): boolean {
  const { type, loadBalancerClass } = service.spec;
  if (type !== 'LoadBalancer') return false;
  if (site.namespaces !== undefined && !site.namespaces.has(service.namespace)) return false;
  return loadBalancerClass === undefined ? site.takesDefaultClass : loadBalancerClass === site.loadBalancerClass;
}

/** Only for Services without a class: with our class nobody else has a claim. */
function isHeldByAnother(service: Service): boolean {
  if (service.spec.loadBalancerClass !== undefined || service.finalizers.includes(ownFinalizer)) return false;
  return service.status.ingress.length > 0 && service.status.ingressManager !== fieldManager;
}
