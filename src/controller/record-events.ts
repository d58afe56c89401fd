import type { Assignment } from '../core/addresses/assignment.ts';
import type { Eligibility } from '../core/addresses/eligibility.ts';
import { conditionTypes } from '../core/model/contract.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { Service } from '../core/model/service.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Reason } from '../core/reasons.ts';
import type { DesiredStatus } from '../core/status/desired.ts';
import { heldWords } from '../core/status/held.ts';
import type { Log } from '../ports/log.ts';
import type { Plan } from './controller.ts';

/** Records an Event on a Service. */
export type RecordEvent = (service: Service, type: 'Normal' | 'Warning', reason: Reason, note: string) => void;

/** Of more changes at once, as at the start, one line gives their number. */
const mostLines = 20;

/** Logs what a decision changed: which Service got, changed or lost an address, and which got none and why. */
export function recordDecision(before: Plan | undefined, next: Plan, log: Log, recordEvent: RecordEvent): void {
  recordAssignments(before, next, log, recordEvent);
  const known = before?.eligibility ?? PersistentMap.empty<ServiceKey, Eligibility>();
  for (const key of PersistentMap.changedKeys(known, next.eligibility)) {
    const service = next.services.get(key);
    const eligibility = next.eligibility.get(key);
    if (eligibility === 'leaving') log.info({ service: key }, 'releasing the Service');
    if (eligibility === 'held' && service !== undefined) {
      log.warn({ service: key, reason: 'HeldByAnother' }, heldWords(service));
      recordEvent(service, 'Warning', 'HeldByAnother', heldWords(service));
    }
  }
  if (before?.pool.excluded === next.pool.excluded) return;
  for (const [address, why] of next.pool.excluded)
    if (before?.pool.excluded.get(address) !== why)
      log.warn({ address, reason: why }, 'address excluded from the pool');
}

function recordAssignments(before: Plan | undefined, next: Plan, log: Log, recordEvent: RecordEvent): void {
  const known = before?.assignments ?? PersistentMap.empty<ServiceKey, Assignment>();
  const changed = PersistentMap.changedKeys(known, next.assignments);
  const lines = changed.flatMap((service) => {
    const [old, assignment] = [known.get(service), next.assignments.get(service)];
    if (assignment === undefined) return [];
    if (assignment.keepsStatus) return [];
    recordDisowned(next.services.get(service), assignment, log, recordEvent);
    const { reason, message } = assignment.verdict;
    if (old !== undefined && old.verdict.reason === reason && old.verdict.message === message) return [];
    return [{ service, reason, message, addresses: assignment.addresses.map(({ ip }) => ip.text) }];
  });
  const kept = changed.filter((service) => next.assignments.get(service)?.keepsStatus === true);
  if (kept.length > 0)
    log.error(
      { services: kept.length },
      'Services show addresses that furiwake published with other --addresses or another --state-dir: they are not served, and their status stays. Start furiwake with those, or release the Services with furiwake cleanup --cluster',
    );
  const assigned = lines.filter(({ reason }) => reason === 'Assigned');
  const without = lines.filter(({ reason }) => reason !== 'Assigned');
  if (without.length > mostLines)
    log.warn({ services: without.length, ...countedBy(without) }, 'Services without an address as they want it');
  for (const { service, reason, message } of without)
    log[without.length > mostLines ? 'debug' : 'warn']({ service, reason }, message);
  if (assigned.length > mostLines) log.info({ services: assigned.length }, 'addresses assigned');
  else for (const { message, ...fields } of assigned) log.info(fields, message);
}

/** How many of each reason. */
function countedBy(lines: readonly { readonly reason: Reason }[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { reason } of lines) counts[reason] = (counts[reason] ?? 0) + 1;
  return counts;
}

function recordDisowned(
  service: Service | undefined,
  { disowned }: Assignment,
  log: Log,
  recordEvent: RecordEvent,
): void {
  if (service === undefined) return;
  for (const text of disowned) {
    const note = `address ${text} in the Service's status is outside the address pool and was not assigned by this host; ignored`;
    log.warn({ service: service.key, reason: 'AddressNotInPool' }, note);
    recordEvent(service, 'Warning', 'AddressNotInPool', note);
  }
}

/** Reasons of conditions that are as a user wants them. */
const good: ReadonlySet<string> = new Set(['Assigned', 'Serving']);

/** Events for what is new in the conditions, after it is written. */
export function recordConditions(before: Service, status: DesiredStatus, recordEvent: RecordEvent): void {
  for (const condition of status.conditions) {
    if (condition.type === conditionTypes.portsError || before.status.conditions.includes(condition)) continue;
    if (condition.reason === 'NoAddress') continue; // the other condition says why
    const type = condition.status === 'True' && good.has(condition.reason) ? 'Normal' : 'Warning';
    recordEvent(before, type, condition.reason as Reason, condition.message);
  }
}
