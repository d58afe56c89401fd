import { fieldManager, ownFinalizer, standardFinalizer } from '../model/contract.ts';
import type { Service } from '../model/service.ts';
import type { Site } from '../model/site.ts';

/**
 * Whose Service this is.
 *
 * - `ours`: we give it an address and serve it.
 * - `held`: it would be ours (no class, and we take those), but another manager holds its status: left alone, said.
 * - `leaving`: not ours any more (deleted, type or flags changed) but our finalizer is on it: taken down and let go. Whose
 *   finalizer it is, class and namespace tell, or our record.
 * - `foreign`: none of our business.
 */
export type Eligibility = 'ours' | 'held' | 'leaving' | 'foreign';

/** `isRecorded`: our own record says that this Service (by UID) has an address from us. */
export function eligibilityOf(service: Service, site: Site, isRecorded: boolean): Eligibility {
  const isOfSite = belongsTo(service, site);
  if (service.spec.type === 'LoadBalancer' && isOfSite && !service.isDeleting) {
    return isRecorded || !isHeldByAnother(service) ? 'ours' : 'held';
  }
  const hasOwn = service.finalizers.includes(ownFinalizer);
  const hasStandard = service.finalizers.includes(standardFinalizer);
  return (isRecorded && (hasOwn || hasStandard)) || (isOfSite && hasOwn) ? 'leaving' : 'foreign';
}

/**
 * By class and namespace, whatever its type: another furiwake, of another class, puts the same finalizers on its own.
 * KEP-1959: a nil class means the default implementation, a set one means exactly that one.
 */
export function belongsTo({ namespace, spec }: Service, site: Site): boolean {
  if (site.namespaces !== undefined && !site.namespaces.has(namespace)) return false;
  return spec.loadBalancerClass === undefined
    ? site.takesDefaultClass
    : spec.loadBalancerClass === site.loadBalancerClass;
}

/** Only for Services without a class: with our class no other implementation has a claim. */
function isHeldByAnother(service: Service): boolean {
  if (service.spec.loadBalancerClass !== undefined || service.finalizers.includes(ownFinalizer)) return false;
  return service.status.ingress.length > 0 && service.status.ingressManager !== fieldManager;
}
