import type { Log } from '../ports/log.ts';
import type { Plan } from './snapshot.ts';

/** One log line per decision: who got, changed or lost an address, and who got none and why. */
export function tellPlan(before: Plan | undefined, next: Plan, log: Log): void {
  const assignments = before?.assignments === next.assignments ? [] : next.assignments;
  for (const [service, assignment] of assignments) {
    const old = before?.assignments.get(service);
    if (old === assignment) continue;
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
  for (const [service, eligibility] of next.eligibility) {
    if (eligibility === 'ours' || eligibility === 'foreign' || before?.eligibility.get(service) === eligibility)
      continue;
    if (eligibility === 'leaving') log.info({ service }, 'taking the load balancer down');
    if (eligibility === 'held')
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
