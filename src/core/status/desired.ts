import type { AssignedAddress, Assignment } from '../addresses/assignment.ts';
import { quote } from '../addresses/request.ts';
import { type Family, type Ip, parseIp } from '../ip/ip.ts';
import { conditionTypes, dataplaneAnnotation, reasonPrefix } from '../model/contract.ts';
import type { ListenerKey } from '../model/names.ts';
import {
  type Condition,
  type Ingress,
  isSamePort,
  type PortStatus,
  type Protocol,
  type Service,
  type ServiceStatus,
} from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import { isLocal } from '../traffic/plan.ts';
import { haproxyNeed } from '../traffic/decode-options.ts';
import type { HostReport } from '../traffic/report.ts';
import { closedFamilies, listenersOf, planSourceRanges, type SourceRanges } from '../traffic/source-ranges.ts';
import { isPodBackend, listenerKey, localBackend, type TrafficTable } from '../traffic/table.ts';
import { closedPorts } from './direct-trouble.ts';
import { annotationTrouble, profileTrouble } from './annotation-trouble.ts';
import { nodeNames } from './node-states.ts';
import { ignoredBackends, type PodFacts, podTroubles } from './pod-trouble.ts';
import type { NodeTrouble } from './node-trouble.ts';
import { portList, sentences, shortened } from './sentences.ts';

/** The parts of a Service's status that furiwake writes, as they should be. */
export type DesiredStatus = Pick<ServiceStatus, 'ingress' | 'conditions'>;

export type StatusInput = {
  readonly service: Service;
  readonly assignment: Assignment;
  /** The listeners that were published to the host. */
  readonly listeners: TrafficTable['listeners'];
  /** The host's report on them. */
  readonly reports: HostReport['listeners'];
  readonly unconfirmed: HostReport['unconfirmed'];
  readonly nodeTrouble: NodeTrouble;
  /** The source ranges of the Service exceed the budget of the host. */
  readonly isOverBudget: boolean;
  /** The profile of the Service is one too many: the one in use that is most like it. */
  readonly nearestProfile: string | undefined;
  /** False if the Service has had no ready endpoint for some seconds; `undefined` while that is not known. */
  readonly hasEndpoints: boolean | undefined;
  /**
   * Why the host drops packets of the Service or leaves them to HAProxy, because `direct` may send them to no node; `briefly`: for some seconds only,
   * as after each publication. `undefined`: it drops none.
   */
  readonly dropping: NodeTrouble | 'briefly' | undefined;
  /** The endpoints of a Service with Pods as servers. `undefined`: it has none, or they are not known. */
  readonly podFacts: PodFacts | undefined;
  readonly nowMs: number;
};

/** What one condition says. */
type ConditionContent = { readonly isTrue: boolean; readonly verdict: Verdict };

/** A listener of this address cannot be served as wanted. */
type Failure = { readonly ip: Ip; readonly verdict: Verdict };

/**
 * The status that the Service should have. `undefined` while the host has not reported on some listener: the present status
 * stays. An address is published when all of its listeners are ready; it does not wait for endpoints or nodes. Until the
 * endpoints are known no condition says that the Service is served. While packets are dropped briefly, the condition Serving
 * does not become true: a restart of furiwake or of a node changes no status twice.
 */
export function desiredStatus(input: StatusInput): DesiredStatus | undefined {
  const { service, assignment } = input;
  const failures: Failure[] = [];
  for (const { ip, served } of assignment.addresses) {
    for (const port of served) {
      const answer = answerTo(listenerKey(ip, port.port, port.protocol), input);
      if (answer === undefined) return undefined;
      if (answer === 'ready') continue;
      failures.push({ ip, verdict: answer });
    }
  }
  const failing = new Set(failures.map(({ ip }) => ip.text));
  const shown = new Map(service.status.ingress.map((entry) => [entry.ip, entry]));
  const ingress: Ingress[] = assignment.addresses
    .filter(({ served }) => served.length > 0)
    .flatMap((address): readonly Ingress[] => {
      const { text } = address.ip;
      if (!failing.has(text)) return [ingressOf(address, input)];
      const present = shown.get(text); // What was programmed before may still be in force, also by an earlier process.
      return present !== undefined && mayBeServed(present, input) ? [present] : [];
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
  const stays =
    input.dropping === 'briefly' && serving.isTrue ? conditionOf(present, conditionTypes.serving) : undefined;
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

/** `ready` if the wanted revision is in force, else why it is not; `undefined` if the host has not reported yet. */
export function answerTo(
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
function ingressOf({ ip, served, taken }: AssignedAddress, { service, assignment, listeners }: StatusInput): Ingress {
  const { spec } = service;
  const { refused } = assignment;
  const isDirect = served.some(
    ({ port, protocol }) => listeners.get(listenerKey(ip, port, protocol))?.dataplane === 'direct',
  );
  const ports = spec.ports.map((port): PortStatus => {
    const refusal = [...refused, ...taken].find((entry) => isSamePort(entry.port, port));
    const base = { port: port.port, protocol: port.protocol };
    return refusal === undefined ? base : { ...base, error: `${reasonPrefix}${refusal.reason}` };
  });
  return { ip: ip.text, hostname: undefined, ipMode: isDirect ? 'VIP' : 'Proxy', ports };
}

/** Why ports are not served, or not on every address. */
function unservedPorts({ addresses, refused }: Assignment): readonly Verdict[] {
  return [...refused, ...addresses.flatMap(({ taken }) => taken)];
}

function servingOf(input: StatusInput, failures: readonly Failure[]): ConditionContent {
  const { service, assignment } = input;
  // An address that is not on the host takes no connections; the other addresses are served.
  const refusal = failures.find(({ verdict }) => verdict.reason !== 'AddressNotOnHost');
  if (refusal !== undefined) return no(refusal.verdict.reason, sentences(failures.map(({ verdict }) => verdict)));
  const missing = unservedPorts(assignment);
  const served = assignment.addresses.filter((address) => address.served.length > 0);
  if (served.length === 0) {
    const verdict = missing[0] ?? { ...assignment.verdict, reason: 'NoAddress' };
    const ignored = annotationTrouble(service.spec).map((words) => `ignored: ${words}`);
    return no(verdict.reason, [verdict.message, ...ignored].join('; '));
  }
  const pods = podTroubles(assignment, service.spec, input.podFacts);
  const losses = served.flatMap((address) => lossOf(address, input, failures) ?? []);
  const troubles = losses.map(({ verdict }) => verdict);
  const whole = losses.filter(({ isWhole }) => isWhole);
  const { sourceRanges } = service.spec;
  const ranges = planSourceRanges(sourceRanges, listenersOf(assignment), input.isOverBudget);
  const closed = closedFamilies(
    sourceRanges,
    served.map(({ ip }) => ip.family),
  );
  const isClosed =
    ranges.excess !== undefined ||
    served.every(({ ip }) => closed.includes(ip.family) || whole.some(({ address }) => address.ip === ip));
  const unserved = [...troubles, ...missing];
  const partly: readonly Verdict[] =
    unserved.length === 0 ? [] : [{ reason: 'PartlyServing', message: sentences(unserved) }];
  const limits = rangeTroubles(ranges, closed);
  // The first one is the reason.
  const shortcomings = [
    ...(isClosed ? [...limits, ...partly] : [...partly, ...limits]),
    ...unconfirmedNodes(input),
    ...profileTrouble(service.spec, input.nearestProfile),
    ...pods.map(({ verdict }) => verdict),
    ...ignoredFields(input),
  ];
  const [loss] = whole;
  if (loss !== undefined && whole.length === served.length)
    return no(loss.verdict.reason, sentences([...partly, ...limits, ...ignoredFields(input)]));
  const [refusedPods] = pods;
  if (refusedPods !== undefined && pods.every(({ isWhole }) => isWhole))
    return no(refusedPods.verdict.reason, sentences(shortcomings));
  if (input.hasEndpoints === false) {
    const where = isLocal(service.spec) ? ' on a node that is in use' : '';
    const verdict: Verdict = { reason: 'NoEndpoints', message: `the Service has no ready endpoints${where}` };
    return no('NoEndpoints', sentences([verdict, ...shortcomings]));
  }
  const [first] = shortcomings;
  if (first === undefined) return { isTrue: true, verdict: { reason: 'Serving', message: 'all ports are served' } };
  const { reason } = first;
  const message = `${reason === 'FieldsNotHonoured' ? 'serving, but ' : ''}${sentences(shortcomings)}`;
  return { isTrue: !isClosed, verdict: { reason, message } };
}

/** Why no node gets packets of an address; `isWhole`: for none of its ports. `undefined`: those for all ports get to a node. */
function lossOf(
  address: AssignedAddress,
  { nodeTrouble, dropping, listeners, reports }: StatusInput,
  absent: readonly Failure[],
): { readonly address: AssignedAddress; readonly isWhole: boolean; readonly verdict: Verdict } | undefined {
  const { ip, served } = address;
  const absence = absent.find((failure) => failure.ip === ip);
  if (absence !== undefined) return { address, isWhole: true, verdict: absence.verdict };
  const hasPods = served.every(({ port, protocol }) => {
    const listener = listeners.get(listenerKey(ip, port, protocol));
    return listener !== undefined && isPodBackend(listener.backend);
  });
  const trouble = hasPods ? undefined : nodeTrouble[ip.family];
  if (trouble !== undefined) {
    const message = `no node takes connections for ${ip.text}: ${trouble}`;
    return { address, isWhole: true, verdict: { reason: 'NoNodes', message } };
  }
  if (dropping === undefined || dropping === 'briefly') return undefined;
  const dropped = closedPorts(address, listeners, reports, false) ?? [];
  if (dropped.length === 0) return undefined;
  const isWhole = dropped.length === served.length;
  const ports = isWhole ? '' : `port ${portList(dropped.map(({ port }) => port))} of `;
  const message = `packets for ${ports}${ip.text} are dropped, because direct has no node for them: ${dropping[ip.family] ?? ''}`;
  return { address, isWhole, verdict: { reason: 'NotForwarding', message } };
}

function no(reason: Verdict['reason'], message: string): ConditionContent {
  return { isTrue: false, verdict: { reason, message } };
}

/** Clients that the source ranges do not permit by mistake: all, or those of the `closed` families. */
function rangeTroubles({ malformed, excess }: SourceRanges, closed: readonly Family[]): readonly Verdict[] {
  const found: Verdict[] = [];
  if (excess !== undefined) found.push({ reason: 'TooManySourceRanges', message: `closed to all clients: ${excess}` });
  const [first] = malformed;
  if (first !== undefined)
    found.push({
      reason: 'InvalidSourceRanges',
      message: `invalid CIDR ${quote(first)} in loadBalancerSourceRanges: it matches no client`,
    });
  for (const family of closed)
    found.push({
      reason: 'InvalidSourceRanges',
      message: `closed to all IPv${family} clients: loadBalancerSourceRanges have no IPv${family} range`,
    });
  return found;
}

/** Nodes with endpoints of the Service that kube-proxy does not confirm. */
function unconfirmedNodes({ service: { key, spec }, assignment, unconfirmed }: StatusInput): readonly Verdict[] {
  return assignment.addresses.flatMap(({ ip }): readonly Verdict[] => {
    const found = unconfirmed.get(localBackend(ip.family, key));
    if (found === undefined) return [];
    const [names, port] = [nodeNames(found.nodes), `healthCheckNodePort ${spec.healthCheckNodePort}`];
    const message = found.areUsed
      ? `EndpointSlices alone decide which nodes get connections: kube-proxy confirms none on ${port} (${names})`
      : `no connections to nodes with endpoints that kube-proxy does not confirm on ${port}: ${names}`;
    return [{ reason: 'NotConfirmed', message }];
  });
}

/** No field is silently ignored. */
function ignoredFields(input: StatusInput): readonly Verdict[] {
  const { spec } = input.service;
  const ignored = spec.ignoredAnnotations.map((name) => `annotation ${name} (one address per family)`);
  ignored.push(...annotationTrouble(spec), ...ignoredBackends(spec, quote));
  const [isDirect, standIn] = carriersOf(input);
  if (spec.sessionAffinity !== 'None' && !isDirect)
    ignored.push(`sessionAffinity=${spec.sessionAffinity} (one Pod per node)`);
  const messages = ignored.length === 0 ? [] : [`ignored: ${ignored.join(', ')}`];
  if (standIn !== undefined) messages.push(standIn);
  else if (isLocal(spec) && !isDirect && !spec.ports.every((port) => haproxyNeed(spec, port) !== undefined))
    messages.push(
      `externalTrafficPolicy=Local: Pods do not see the address of the client, which the annotation ${dataplaneAnnotation}: direct keeps`,
    );
  return messages.map((message) => ({ reason: 'FieldsNotHonoured', message }));
}

/** Whether `direct` carries all connections now, and where HAProxy stands in for it: why, and what is lost by that. */
function carriersOf({
  assignment,
  listeners,
  reports,
  dropping,
}: StatusInput): readonly [isDirect: boolean, standIn: string | undefined] {
  const { addresses } = assignment;
  const isWanted = addresses.every(({ ip, served }) =>
    served.every(({ port, protocol }) => listeners.get(listenerKey(ip, port, protocol))?.dataplane === 'direct'),
  );
  if (dropping === undefined || dropping === 'briefly') return [isWanted, undefined];
  const stoodIn = addresses.filter((address) => (closedPorts(address, listeners, reports, true)?.length ?? 0) > 0);
  if (stoodIn.length === 0) return [isWanted, undefined];
  const why = [...new Set(stoodIn.flatMap(({ ip }) => dropping[ip.family] ?? []))].join('; ');
  return [false, `HAProxy stands in for direct, so Pods do not see the addresses of clients: ${why}`];
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
