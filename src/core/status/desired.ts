import type { Assignment } from '../addresses/plan.ts';
import { conditionTypes, reasonPrefix } from '../model/contract.ts';
import type { ListenerKey } from '../model/names.ts';
import type { Condition, Ingress, PortStatus, Service, ServiceStatus } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import { listenerKey, type TrafficTable } from '../traffic/table.ts';
import { decodeSourceRanges } from '../traffic/plan.ts';
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
  for (const address of assignment.addresses) {
    for (const port of assignment.served) {
      const answer = input.readiness.get(listenerKey(address, port.port, port.protocol));
      if (answer === undefined) return undefined;
      if (answer !== 'ready') failures.push(answer);
    }
  }
  const isServed = assignment.addresses.length > 0 && assignment.served.length > 0 && failures.length === 0;
  const ingress = isServed
    ? assignment.addresses.map((ip) => ingressOf(ip.text, service, assignment))
    : keptIngress(input);
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

/** When a change was refused what was in force still is, so a published address stays published. */
function keptIngress({ service, assignment }: StatusInput): readonly Ingress[] {
  if (assignment.served.length === 0) return [];
  return service.status.ingress.filter((entry) => assignment.addresses.some((ip) => ip.text === entry.ip));
}

function ingressOf(ip: string, service: Service, assignment: Assignment): Ingress {
  const ports = service.spec.ports.map((port): PortStatus => {
    const refusal = assignment.refused.find((entry) => entry.port === port);
    const base = { port: port.port, protocol: port.protocol };
    return refusal === undefined ? base : { ...base, error: `${reasonPrefix}${refusal.reason}` };
  });
  return { ip, hostname: undefined, ipMode: 'Proxy', ports };
}

function servingCondition(
  input: StatusInput,
  failures: readonly Verdict[],
): readonly [string, Condition['status'], Verdict] {
  const { service, assignment } = input;
  const type = conditionTypes.serving;
  const [failure] = failures;
  if (failure !== undefined) return [type, 'False', failure];
  if (assignment.addresses.length === 0 || assignment.served.length === 0) {
    const [refusal] = assignment.refused;
    return [
      type,
      'False',
      refusal ?? { reason: 'NoAddress', message: 'no address: see condition furiwake.dev/AddressAssigned' },
    ];
  }
  const lonely = assignment.addresses.filter((ip) => input.nodes[ip.family].length === 0);
  if (lonely.length > 0) {
    return [
      type,
      'False',
      { reason: 'NoNodes', message: `no node can take connections for ${lonely.map((ip) => ip.text).join(', ')}` },
    ];
  }
  const { malformed } = decodeSourceRanges(service.spec.sourceRanges);
  if (malformed.length > 0) {
    return [
      type,
      'True',
      {
        reason: 'InvalidSourceRanges',
        message: `${quote(malformed[0] ?? '')} in loadBalancerSourceRanges is no CIDR and lets nobody in`,
      },
    ];
  }
  if (assignment.refused.length > 0) {
    return [
      type,
      'True',
      {
        reason: 'PartlyServing',
        message: `not served: ${assignment.refused.map((entry) => entry.message).join('; ')}`,
      },
    ];
  }
  const ignored = ignoredFields(service);
  if (ignored.length > 0)
    return [
      type,
      'True',
      { reason: 'FieldsNotHonoured', message: `served, but not followed yet: ${ignored.join('; ')}` },
    ];
  return [
    type,
    'True',
    {
      reason: 'Serving',
      message: `serving ${assignment.served.length} port${assignment.served.length === 1 ? '' : 's'}`,
    },
  ];
}

/** No field is silently ignored. */
function ignoredFields({ spec }: Service): readonly string[] {
  const ignored: string[] = [];
  if (spec.sessionAffinity !== 'None')
    ignored.push(`sessionAffinity ${quote(spec.sessionAffinity)}: connections are spread over all nodes`);
  if (spec.externalTrafficPolicy === 'Local') ignored.push('externalTrafficPolicy Local: served as Cluster');
  return ignored;
}

/** The API's own condition for ports that a load balancer cannot serve; absent when all can be. */
function portsCondition(assignment: Assignment): readonly (readonly [string, Condition['status'], Verdict])[] {
  const [first] = assignment.refused;
  if (first === undefined) return [];
  const message = assignment.refused.map((entry) => entry.message).join('; ');
  const isMixed = assignment.served.length > 0 && first.reason === 'UnsupportedProtocol';
  return [
    [
      conditionTypes.portsError,
      'True',
      { reason: isMixed ? 'LoadBalancerMixedProtocolNotSupported' : first.reason, message },
    ],
  ];
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
