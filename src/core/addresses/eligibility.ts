import { fieldManager, ownFinalizer, standardFinalizer } from '../model/contract.ts';
import type { Service } from '../model/service.ts';
import type { Site } from '../model/site.ts';
import { someOf } from '../status/sentences.ts';

/**
 * What furiwake does with a Service.
 *
 * - `ours`: furiwake gives it an address and serves it.
 * - `occupied`: it has no class and would be ours, but another field manager wrote its status (`HeldByAnother`). furiwake leaves it
 *   alone and says so.
 * - `leaving`: it is no longer ours (deleted, or type or flags changed) and has our finalizers. furiwake withdraws and
 *   releases it. Class and namespace, or our record, tell that the finalizers are ours and not another furiwake's.
 * - `foreign`: furiwake ignores it.
 */
export type Eligibility = 'ours' | 'occupied' | 'leaving' | 'foreign';

/** `isRecorded`: the ledger has a record of this Service (by UID). */
export function eligibilityOf(service: Service, site: Site, isRecorded: boolean): Eligibility {
  const isOfSite = belongsTo(service, site);
  if (service.spec.type === 'LoadBalancer' && isOfSite && !service.isDeleting) {
    return isRecorded || !isOccupied(service) ? 'ours' : 'occupied';
  }
  const hasOwn = service.finalizers.includes(ownFinalizer);
  const hasStandard = service.finalizers.includes(standardFinalizer);
  return (isRecorded && (hasOwn || hasStandard)) || (isOfSite && hasOwn) ? 'leaving' : 'foreign';
}

/**
 * Decides by class and namespace, whatever the type: a furiwake of another class uses the same finalizers.
 * KEP-1959: a nil class means the default implementation, a set one means exactly that one, whatever the annotations.
 */
export function belongsTo({ namespace, spec }: Service, site: Site): boolean {
  if (site.namespaces !== undefined && !site.namespaces.has(namespace)) return false;
  return spec.loadBalancerClass === undefined
    ? site.takesDefaultClass && !spec.wantsNone
    : spec.loadBalancerClass === site.loadBalancerClass;
}

/** Only a Service without a class: one with our class belongs to no other implementation. */
function isOccupied(service: Service): boolean {
  if (service.spec.loadBalancerClass !== undefined || service.finalizers.includes(ownFinalizer)) return false;
  return service.status.ingress.length > 0 && service.status.ingressManager !== fieldManager;
}

/** Any client with the right to write a status chooses how many there are. */
const mostAddresses = 5;

/** Why furiwake leaves a Service alone whose address another manager wrote. */
export function occupiedWords({ status: { ingress, ingressManager = 'an unknown client' } }: Service): string {
  const addresses = someOf(
    ingress.map(({ ip, hostname }) => ip ?? hostname ?? ''),
    mostAddresses,
  );
  return `${ingressManager} wrote ${addresses}, and the Service has no class: furiwake leaves it alone`;
}
