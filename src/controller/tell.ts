import type { Eligibility } from '../core/addresses/eligibility.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import type { ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Service } from '../core/model/service.ts';
import type { Reason } from '../core/reasons.ts';
import type { Log } from '../ports/log.ts';
import type { Plan } from './snapshot.ts';

const nothing: Pick<Plan, 'assignments' | 'eligibility'> = {
  assignments: PersistentMap.empty<ServiceKey, Assignment>(),
  eligibility: PersistentMap.empty<ServiceKey, Eligibility>(),
};

/** A line that the user sees under the Service's events. */
export type Tell = (service: Service, type: 'Normal' | 'Warning', reason: Reason, note: string) => void;

/** One log line per decision: who got, changed or lost an address, and who got none and why. */
export function tellPlan(before: Plan | undefined, next: Plan, log: Log, tell: Tell): void {
  const { assignments, eligibility } = before ?? nothing;
  for (const service of PersistentMap.changedKeys(assignments, next.assignments)) {
    const [old, assignment] = [assignments.get(service), next.assignments.get(service)];
    if (assignment === undefined) continue;
    tellDisowned(next.services.get(service), assignment, log, tell);
    const addresses = assignment.addresses.map(({ ip }) => ip.text);
    const { reason, message } = assignment.verdict;
    if (old !== undefined && old.verdict.reason === reason && old.verdict.message === message) continue;
    const fields = { service, addresses, reason };
    if (reason === 'Assigned') log.info(fields, message);
    else log.warn(fields, message);
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

function tellDisowned(service: Service | undefined, { disowned }: Assignment, log: Log, tell: Tell): void {
  if (service === undefined) return;
  for (const text of disowned) {
    const note = `${text} in status was written by somebody else and is not in --addresses: it is not announced`;
    log.warn({ service: service.key, reason: 'AddressNotInPool' }, note);
    tell(service, 'Warning', 'AddressNotInPool', note);
  }
}
