import type { AssignedAddress, Assignment } from '../addresses/assignment.ts';
import { conditionTypes, reasonPrefix } from '../model/contract.ts';
import type { ListenerKey } from '../model/names.ts';
import type { Condition, Ingress, PortStatus, Service, ServiceStatus } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import { listenerKey, type TrafficTable } from '../traffic/table.ts';
import { listenersOf, mostRanges, planSourceRanges } from '../traffic/source-ranges.ts';
import { quote } from '../addresses/request.ts';

/**
 * What a host said of its listeners: `ready` when HAProxy and the kernel have acknowledged them, else why not.
 * `undefined`: not answered yet.
 */
export type Readiness = { get(listener: ListenerKey): 'ready' | Verdict | undefined };

/** The status that a Service should show: what we write, and nothing else. */
export type DesiredStatus = Pick<ServiceStatus, 'ingress' | 'conditions'>;

export type StatusInput = {
  readonly service: Service;
  readonly assignment: Assignment;
  readonly readiness: Readiness;
  /** Addresses on which something of this Service is in force, as planned or as it was before. */
  readonly served: ReadonlySet<string>;
  readonly nodes: TrafficTable['nodes'];
  readonly nowMs: number;
};

/**
 * What the Service's status should say; `undefined` while some listener has not been answered yet: then what is
 * there stays. An address is published when all of its listeners are ready; endpoints and nodes do not hold it back.
 */
export function desiredStatus(input: StatusInput): DesiredStatus | undefined {
  const { service, assignment } = input;
  const failures: Verdict[] = [];
  for (const { ip, served } of assignment.addresses) {
    for (const port of served) {
      const answer = input.readiness.get(listenerKey(ip, port.port, port.protocol));
      if (answer === undefined) return undefined;
      if (answer !== 'ready') failures.push(answer);
    }
  }
  const published = assignment.addresses.filter(({ served }) => served.length > 0);
  // When a change was refused what was in force still is, so a published address stays published.
  const ingress =
    failures.length === 0
      ? published.map((address) => ingressOf(address, service, assignment))
      : service.status.ingress.filter(({ ip }) => ip !== undefined && input.served.has(ip));
  const verdicts: readonly (readonly [type: string, status: Condition['status'], verdict: Verdict])[] = [
    [conditionTypes.addressAssigned, assignment.addresses.length > 0 ? 'True' : 'False', assignment.verdict],
    servingCondition(input, failures),
    ...portsCondition(assignment),
  ];
  const conditions = verdicts.map(([type, status, verdict]) =>
    condition(service.status.conditions, type, status, verdict, input.nowMs),
  );
  return { ingress, conditions: conditions.sort((a, b) => (a.type < b.type ? -1 : 1)) };
}

function ingressOf({ ip, taken }: AssignedAddress, service: Service, { refused }: Assignment): Ingress {
  const ports = service.spec.ports.map((port): PortStatus => {
    const refusal = [...refused, ...taken].find((entry) => entry.port === port);
    const base = { port: port.port, protocol: port.protocol };
    return refusal === undefined ? base : { ...base, error: `${reasonPrefix}${refusal.reason}` };
  });
  return { ip: ip.text, hostname: undefined, ipMode: 'Proxy', ports };
}

/** All ports that are not served somewhere, with why. */
function unserved({ addresses, refused }: Assignment): readonly Verdict[] {
  return [...refused, ...addresses.flatMap(({ taken }) => taken)];
}

function servingCondition(
  input: StatusInput,
  failures: readonly Verdict[],
): readonly [string, Condition['status'], Verdict] {
  const { service, assignment } = input;
  const type = conditionTypes.serving;
  const [failure] = failures;
  if (failure !== undefined) return [type, 'False', failure];
  const missing = unserved(assignment);
  if (assignment.addresses.every(({ served }) => served.length === 0)) {
    const verdict: Verdict = { reason: 'NoAddress', message: 'no address: see condition furiwake.dev/AddressAssigned' };
    return [type, 'False', missing[0] ?? verdict];
  }
  const lonely = assignment.addresses.filter(({ ip }) => input.nodes[ip.family].length === 0);
  if (lonely.length > 0) {
    const texts = lonely.map(({ ip }) => ip.text).join(', ');
    return [type, 'False', { reason: 'NoNodes', message: `no node can take connections for ${texts}` }];
  }
  const [first, ...others] = shortcomings(service, assignment, missing);
  if (first === undefined) return [type, 'True', { reason: 'Serving', message: 'every port is served' }];
  return [type, 'True', { reason: first.reason, message: sentences([first, ...others]) }];
}

/** What is not as the user may expect of a Service that is served, the gravest first: none hides another. */
function shortcomings(service: Service, assignment: Assignment, missing: readonly Verdict[]): readonly Verdict[] {
  const { malformed: all, excess } = planSourceRanges(service.spec.sourceRanges, listenersOf(assignment));
  const [malformed] = all;
  const ignored = ignoredFields(service);
  const found: (Verdict | undefined)[] = [
    excess === undefined
      ? undefined
      : {
          reason: 'TooManySourceRanges',
          message: `loadBalancerSourceRanges for each port and family are ${excess} ranges, of at most ${mostRanges}: nobody is let in`,
        },
    malformed === undefined
      ? undefined
      : {
          reason: 'InvalidSourceRanges',
          message: `${quote(malformed)} in loadBalancerSourceRanges is no CIDR and lets nobody in`,
        },
    missing.length === 0 ? undefined : { reason: 'PartlyServing', message: `not served: ${sentences(missing)}` },
    ignored.length === 0
      ? undefined
      : { reason: 'FieldsNotHonoured', message: `served, but not followed yet: ${ignored.join('; ')}` },
  ];
  return found.filter((verdict) => verdict !== undefined);
}

/** No field is silently ignored. */
function ignoredFields({ spec }: Service): readonly string[] {
  const ignored: string[] = [];
  if (spec.sessionAffinity !== 'None')
    ignored.push(`sessionAffinity ${quote(spec.sessionAffinity)}: connections are spread over all nodes`);
  if (spec.externalTrafficPolicy === 'Local')
    ignored.push('externalTrafficPolicy Local: every node is tried, and only those with a Pod of the Service answer');
  return ignored;
}

/** The API's own condition for ports that a load balancer cannot serve; absent when all can be. */
function portsCondition(assignment: Assignment): readonly (readonly [string, Condition['status'], Verdict])[] {
  const missing = unserved(assignment);
  const [first] = missing;
  if (first === undefined) return [];
  const isMixed =
    first.reason === 'UnsupportedProtocol' && assignment.addresses.some(({ served }) => served.length > 0);
  const reason = isMixed ? 'LoadBalancerMixedProtocolNotSupported' : first.reason;
  return [[conditionTypes.portsError, 'True', { reason, message: sentences(missing) }]];
}

function sentences(verdicts: readonly Verdict[]): string {
  return verdicts.map((verdict) => verdict.message).join('; ');
}

const maxMessageLength = 1024;

/** The condition as it is when it says the same already; `lastTransitionTime` moves only with `status`. */
function condition(
  present: readonly Condition[],
  type: string,
  status: Condition['status'],
  verdict: Verdict,
  nowMs: number,
): Condition {
  const known = present.find((entry) => entry.type === type);
  const message = verdict.message.slice(0, maxMessageLength);
  if (known?.status === status && known.reason === verdict.reason && known.message === message) return known;
  const lastTransitionTime = known?.status === status ? known.lastTransitionTime : rfc3339(nowMs);
  return { type, status, reason: verdict.reason, message, lastTransitionTime };
}

/** Whole seconds, UTC, as metav1.Time is written. */
function rfc3339(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
