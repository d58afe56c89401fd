import type { AssignedAddress, Assignment } from '../addresses/assignment.ts';
import { parseIp } from '../ip/ip.ts';
import { conditionTypes, reasonPrefix } from '../model/contract.ts';
import type { ListenerKey } from '../model/names.ts';
import {
  type Condition,
  type Ingress,
  isSamePort,
  type PortStatus,
  type Protocol,
  type ServiceStatus,
} from '../model/service.ts';
import type { Reason, Verdict } from '../reasons.ts';
import { listenerKey } from '../traffic/table.ts';
import { sentences, shortened } from './sentences.ts';
import { servingOf, unservedPorts } from './serving.ts';
import type { ConditionContent, Failure, StatusInput } from './status-input.ts';

/** The parts of a Service's status that furiwake writes, as they should be. */
export type DesiredStatus = Pick<ServiceStatus, 'ingress' | 'conditions'>;

/** Listeners of the Service that are not in force, and why; `undefined` while the host has not reported on each of them. */
export function failuresOf(
  { addresses }: Assignment,
  known: Pick<StatusInput, 'listeners' | 'reports'>,
): readonly Failure[] | undefined {
  const failures: Failure[] = [];
  for (const { ip, served } of addresses) {
    for (const port of served) {
      const answer = answerTo(listenerKey(ip, port.port, port.protocol), known);
      if (answer === undefined) return undefined;
      if (answer === 'ready' || answer.reason === 'SettingsWaiting') continue; // it is served
      failures.push({ ip, verdict: answer });
    }
  }
  return failures;
}

/**
 * Another machine serves the address, or HAProxy takes no connections, or no changes: what it serves is not known then. It is the same
 * for a host that has just taken over as for one that served before: names in DNS need not follow each failure of HAProxy.
 */
const staysPublished: ReadonlySet<Reason> = new Set(['AnsweredElsewhere', 'HaproxyDown', 'HaproxyUnchanged']);

/**
 * The status that the Service should have; `failures`: as `failuresOf` finds them. An address is published when all of its
 * listeners are ready; it does not wait for endpoints or nodes. Until the endpoints are known no condition says that the
 * Service is served, and one about ports without endpoints, or about nodes that `direct` does not reach, stays. While packets are dropped
 * briefly, the condition Serving does not become true: a restart of furiwake or of a node changes no status twice.
 */
export function desiredStatus(input: StatusInput, failures: readonly Failure[]): DesiredStatus {
  const { service, assignment } = input;
  const failing = new Set(failures.map(({ ip }) => ip.text));
  const staying = new Set(failures.flatMap(({ ip, verdict }) => (staysPublished.has(verdict.reason) ? ip.text : [])));
  const shown = new Map(service.status.ingress.map((entry) => [entry.ip, entry]));
  const ingress: Ingress[] = assignment.addresses
    .filter(({ served }) => served.length > 0)
    .flatMap((address): readonly Ingress[] => {
      const { text } = address.ip;
      if (!failing.has(text)) return [ingressOf(address, input)];
      const present = shown.get(text); // What was programmed before may still be in force, also by an earlier process.
      return present !== undefined && (staying.has(text) || mayBeServed(present, input)) ? [present] : [];
    });
  if (assignment.keepsStatus) ingress.push(...service.status.ingress);
  if (failures.length > 0) {
    const wanted = new Set(assignment.addresses.map(({ ip }) => ip.text));
    // The host refuses a move: the old address still answers.
    for (const entry of service.status.ingress)
      if (!wanted.has(entry.ip ?? '') && mayBeServed(entry, input)) ingress.push(entry);
  }
  const serving = servingOf(input, failures);
  const isCertain = !serving.isTrue || input.hasEndpoints !== undefined;
  const present = service.status.conditions;
  const shownServing = conditionOf(present, conditionTypes.serving);
  const isBrief = input.dropping === 'briefly' && serving.isTrue;
  const mayKnowNodes = input.unreached === undefined && serving.isTrue && shownServing?.reason === 'NodesNotReached';
  const stays = isBrief || mayKnowNodes || mayKnowGaps(shownServing, serving, input) ? shownServing : undefined;
  // In the order of their types.
  const contents: readonly (readonly [type: string, content: ConditionContent | undefined])[] = [
    [conditionTypes.portsError, portsErrorOf(assignment)],
    [conditionTypes.addressAssigned, { isTrue: assignment.addresses.length > 0, verdict: assignment.verdict }],
    [conditionTypes.serving, isCertain && stays === undefined ? serving : undefined],
  ];
  const conditions = contents.flatMap(([type, content]) =>
    content === undefined ? [] : [condition(present, type, content, input.nowMs)],
  );
  return { ingress, conditions: stays === undefined ? conditions : [...conditions, stays] };
}

/** Whether the present condition may say which ports have no endpoints, which is not known yet. */
function mayKnowGaps(
  shown: Condition | undefined,
  { isTrue, verdict }: ConditionContent,
  { gaps }: StatusInput,
): boolean {
  const isAboutGaps = shown?.reason === 'NoEndpoints' || shown?.reason === 'PartlyServing';
  return gaps === undefined && isAboutGaps && (isTrue || verdict.reason === shown.reason);
}

/** `ready` if the wanted revision is in force, else why it is not; `undefined` if the host has not reported yet. */
function answerTo(
  key: ListenerKey,
  { listeners, reports }: Pick<StatusInput, 'listeners' | 'reports'>,
): 'ready' | Verdict | undefined {
  const listener = listeners.get(key);
  const report = reports.get(key);
  if (listener === undefined || report === undefined) return undefined;
  if (report.refusal?.revision === listener.revision) return report.refusal.verdict;
  return report.holder === listener.service && report.revision === listener.revision ? 'ready' : undefined;
}

/** Whether the host may carry a listener of the Service on this address of its status. */
function mayBeServed({ ip: text, ports }: Ingress, { service, reports }: StatusInput): boolean {
  const ip = text === undefined ? undefined : parseIp(text);
  if (ip === undefined) return false;
  return ports.some(
    ({ port, protocol }) => reports.get(listenerKey(ip, port, protocol as Protocol))?.holder === service.key,
  );
}

/** With `ipMode: VIP` kube-proxy serves the address on every node, which `direct` needs; `Proxy` keeps all packets to the host. */
function ingressOf(
  { ip, served, unserved }: AssignedAddress,
  { service, assignment, listeners }: StatusInput,
): Ingress {
  const { spec } = service;
  const { refused } = assignment;
  const isDirect = served.some(
    ({ port, protocol }) => listeners.get(listenerKey(ip, port, protocol))?.dataplane === 'direct',
  );
  const ports = spec.ports.map((port): PortStatus => {
    const refusal = [...refused, ...unserved].find((entry) => isSamePort(entry.port, port));
    const base = { port: port.port, protocol: port.protocol };
    return refusal === undefined ? base : { ...base, error: `${reasonPrefix}${refusal.reason}` };
  });
  return { ip: ip.text, hostname: undefined, ipMode: isDirect ? 'VIP' : 'Proxy', ports };
}

/** The standard condition for ports that a load balancer cannot serve; `undefined` if it can serve all. */
function portsErrorOf(assignment: Assignment): ConditionContent | undefined {
  const missing = unservedPorts(assignment);
  const [first] = missing;
  if (first === undefined) return undefined;
  return { isTrue: true, verdict: { reason: first.reason, message: sentences(missing) } };
}

function conditionOf(present: readonly Condition[], type: string): Condition | undefined {
  return present.find((entry) => entry.type === type);
}

/** The present condition if it says the same. `lastTransitionTime` changes only with `status`. */
function condition(
  present: readonly Condition[],
  type: string,
  { isTrue, verdict: { reason, message: text } }: ConditionContent,
  nowMs: number,
): Condition {
  const known = conditionOf(present, type);
  const status = isTrue ? 'True' : 'False';
  const message = shortened(text);
  if (known?.status === status && known.reason === reason && known.message === message) return known;
  const lastTransitionTime = known?.status === status ? known.lastTransitionTime : rfc3339(nowMs);
  return { type, status, reason, message, lastTransitionTime };
}

/** Whole seconds in UTC, the format of metav1.Time. */
function rfc3339(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
