import { untilAborted } from '../async/abort.ts';
import type { Plan } from './controller.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import { type Eligibility, occupiedWords } from '../core/addresses/eligibility.ts';
import { conditionTypes } from '../core/model/contract.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { Node } from '../core/model/node.ts';
import type { Service } from '../core/model/service.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { type Reason, reasons } from '../core/reasons.ts';
import type { DesiredStatus } from '../core/status/desired.ts';
import type { EventSender } from '../kube/events.ts';
import type { Store } from '../kube/store.ts';
import type { Log } from '../ports/log.ts';

/** Records an Event on a Service. */
export type RecordEvent = (service: Service, type: 'Normal' | 'Warning', reason: Reason, note: string) => void;

/** Of more changes at once, one line gives their number, and the details are for debugging. */
const mostLines = 20;

type LoggedChange = { readonly message: string } & Readonly<Record<string, unknown>>;

/** Logs what a decision changed: which Service got, changed or lost an address, and which got none and why. */
export function recordDecision(before: Plan | undefined, next: Plan, log: Log, recordEvent: RecordEvent): void {
  recordAssignments(before, next, log, recordEvent);
  recordEligibility(before, next, log, recordEvent);
  if (before?.pool.excluded === next.pool.excluded) return;
  const excluded = [...next.pool.excluded].filter(([address, why]) => before?.pool.excluded.get(address) !== why);
  const lines = excluded.map(([address, why]) => ({ address, reason: why, message: 'address excluded from the pool' }));
  logLines(log, 'warn', lines, { addresses: lines.length }, 'addresses excluded from the pool');
}

function recordEligibility(before: Plan | undefined, next: Plan, log: Log, recordEvent: RecordEvent): void {
  const known = before?.eligibility ?? PersistentMap.empty<ServiceKey, Eligibility>();
  const [leaving, occupied]: [LoggedChange[], LoggedChange[]] = [[], []];
  for (const key of PersistentMap.changedKeys(known, next.eligibility)) {
    const service = next.services.get(key);
    const eligibility = next.eligibility.get(key);
    if (eligibility === 'leaving') leaving.push({ service: key, message: 'releasing the Service' });
    if (eligibility === 'occupied' && service !== undefined) {
      occupied.push({ service: key, reason: 'HeldByAnother', message: occupiedWords(service) });
      recordEvent(service, 'Warning', 'HeldByAnother', occupiedWords(service));
    }
  }
  logLines(log, 'info', leaving, { services: leaving.length }, 'releasing Services');
  logLines(
    log,
    'warn',
    occupied,
    { services: occupied.length },
    'Services that another implementation serves: left alone',
  );
}

function recordAssignments(before: Plan | undefined, next: Plan, log: Log, recordEvent: RecordEvent): void {
  const known = before?.assignments ?? PersistentMap.empty<ServiceKey, Assignment>();
  const [assigned, without, disowned]: [LoggedChange[], LoggedChange[], LoggedChange[]] = [[], [], []];
  const byReason: Record<string, number> = {};
  let kept = 0;
  for (const service of PersistentMap.changedKeys(known, next.assignments)) {
    const [old, assignment] = [known.get(service), next.assignments.get(service)];
    if (assignment?.keepsStatus === true) kept++;
    if (assignment === undefined || assignment.keepsStatus) continue;
    disowned.push(...recordDisowned(next.services.get(service), assignment, recordEvent));
    const { reason, message } = assignment.verdict;
    if (old !== undefined && old.verdict.reason === reason && old.verdict.message === message) continue;
    const addresses = assignment.addresses.map(({ ip }) => ip.text);
    if (reason === 'Assigned') assigned.push({ service, reason, addresses, message });
    else {
      without.push({ service, reason, message });
      byReason[reason] = (byReason[reason] ?? 0) + 1;
    }
  }
  if (kept > 0)
    log.error(
      { services: kept },
      'Services show addresses that furiwake published with other --addresses or another --state-dir: they are not served, and their status stays. Start furiwake with those, or release the Services with furiwake cleanup --cluster',
    );
  logLines(
    log,
    'warn',
    disowned,
    { addresses: disowned.length },
    'addresses in statuses are outside the pool; ignored',
  );
  const most = before === undefined ? 0 : mostLines; // a start repeats what an earlier run has logged
  const pending = { services: without.length, ...byReason };
  logLines(log, 'warn', without, pending, 'Services without the address that they want', most);
  logLines(log, 'info', assigned, { services: assigned.length }, 'addresses assigned', most);
}

/** Logs each line, or, if there are more than `most`, `summary` in place of them, which stay visible at level debug. */
function logLines(
  log: Log,
  level: 'info' | 'warn',
  lines: readonly LoggedChange[],
  counts: Readonly<Record<string, number>>,
  summary: string,
  most: number = mostLines,
): void {
  const isSummary = lines.length > most;
  if (isSummary) log[level](counts, summary);
  for (const { message, ...fields } of lines) log[isSummary ? 'debug' : level](fields, message);
}

function recordDisowned(
  service: Service | undefined,
  { disowned }: Assignment,
  recordEvent: RecordEvent,
): readonly LoggedChange[] {
  if (service === undefined) return [];
  return disowned.map((text) => {
    const note = `address ${text} in the Service's status is outside the address pool of this host; ignored`;
    recordEvent(service, 'Warning', 'AddressNotInPool', note);
    return { service: service.key, reason: 'AddressNotInPool', message: note };
  });
}

/**
 * Records an Event on each Service with an address that another machine on the LAN has as well (text → MAC): once while it
 * lasts, and again for another machine.
 */
export function makeDuplicateEvents(
  recordEvent: RecordEvent,
): (plan: Pick<Plan, 'assignments' | 'services'>, duplicates: ReadonlyMap<string, string>) => void {
  let told: ReadonlySet<string> = new Set();
  return ({ assignments, services }, duplicates) => {
    const next = new Set<string>();
    for (const [key, { addresses }] of duplicates.size === 0 ? [] : assignments) {
      const service = services.get(key);
      for (const { ip } of service === undefined ? [] : addresses) {
        const mac = duplicates.get(ip.text);
        if (mac === undefined || service === undefined) continue;
        const duplicate = `${service.uid} ${ip.text} ${mac}`;
        next.add(duplicate);
        if (told.has(duplicate)) continue;
        const note = `${ip.text} is also in use by another machine on the LAN (MAC address ${mac}): remove it there, or request another address`;
        recordEvent(service, 'Warning', 'DuplicateAddress', note);
      }
    }
    told = next;
  };
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

/** Records an event on each node that gets no connections because it has no address; until `signal` aborts. */
export async function reportNodes(nodes: Store<Node>, events: EventSender, signal: AbortSignal): Promise<void> {
  const look = (names: Iterable<string>): void => {
    for (const name of names) {
      const node = nodes.objects().get(name);
      if (node === undefined || node.addresses.length > 0) continue;
      events.record({
        regarding: { apiVersion: 'v1', kind: 'Node', name: node.name, uid: node.name },
        type: 'Warning',
        reason: 'NodeWithoutAddress',
        action: 'Sync',
        note: reasons.NodeWithoutAddress.means,
      });
    }
  };
  const unsubscribe = nodes.subscribe(look);
  await untilAborted(signal);
  unsubscribe();
}
