import type { Eligibility } from '../core/addresses/eligibility.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import type { ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Log } from '../ports/log.ts';
import type { Plan } from './snapshot.ts';

const nothing: Pick<Plan, 'assignments' | 'eligibility'> = {
  assignments: PersistentMap.empty<ServiceKey, Assignment>(),
  eligibility: PersistentMap.empty<ServiceKey, Eligibility>(),
};

/** One log line per decision: who got, changed or lost an address, and who got none and why. */
export function tellPlan(before: Plan | undefined, next: Plan, log: Log): void {
  const { assignments, eligibility } = before ?? nothing;
  for (const service of PersistentMap.changedKeys(assignments, next.assignments)) {
    const [old, assignment] = [assignments.get(service), next.assignments.get(service)];
    if (assignment === undefined) continue;
    const addresses = assignment.addresses.map(({ ip }) => ip.text);
    const { reason, message } = assignment.verdict;
    if (old !== undefined && old.verdict.reason === reason && old.verdict.message === message) continue;
    const fields = { service, addresses, reason };
    if (reason === 'Assigned') log.info(fields, message);
    else log.warn(fields, message);
    for (const text of assignment.disowned) {
      log.warn(
        { service, addresses, reason: 'AddressNotInPool' },
        `${text} in status was written by somebody else and is not in --addresses`,
      );
    }
  }
  for (const service of PersistentMap.changedKeys(eligibility, next.eligibility)) {
    const answer = next.eligibility.get(service);
    if (answer === 'leaving') log.info({ service }, 'taking the load balancer down');
    if (answer === 'held')
      log.warn(
        { service, reason: 'HeldByAnother' },
        'left alone: it has no class, and another controller holds its status',
      );
  }
  if (before?.nodeAddresses === next.nodeAddresses) return;
  for (const [address, node] of next.nodeAddresses) {
    if (before?.nodeAddresses.get(address) !== node)
      log.warn({ address, node }, 'left out of --addresses: it is the address of a node');
  }
}
