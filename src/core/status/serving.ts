import type { AssignedAddress, Assignment } from '../addresses/assignment.ts';
import { quote } from '../addresses/request.ts';
import type { Family } from '../ip/ip.ts';
import { dataplaneAnnotation } from '../model/contract.ts';
import type { Verdict } from '../reasons.ts';
import { haproxyNeed } from '../traffic/decode-options.ts';
import { isLocal } from '../traffic/plan.ts';
import { closedFamilies, listenersOf, planSourceRanges, type SourceRanges } from '../traffic/source-ranges.ts';
import { isPodBackend, listenerKey, localBackend } from '../traffic/table.ts';
import { annotationTrouble, profileTrouble } from './annotation-trouble.ts';
import { closedPorts } from './direct-trouble.ts';
import { nodeNames } from './node-states.ts';
import { endpointTroubles, ignoredBackends } from './pod-trouble.ts';
import { portList, sentences } from './sentences.ts';
import type { ConditionContent, Failure, StatusInput } from './status-input.ts';

/** Why ports are not served, or not on every address. */
export function unservedPorts({ addresses, refused }: Assignment): readonly Verdict[] {
  return [...refused, ...addresses.flatMap(({ taken }) => taken)];
}

/** What the condition Serving says. `failures`: listeners that are not in force. */
export function servingOf(input: StatusInput, failures: readonly Failure[]): ConditionContent {
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
  const endpoints = endpointTroubles(assignment, service.spec, input.podFacts);
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
    ...endpoints.verdicts,
    ...ignoredFields(input),
  ];
  const [loss] = whole;
  if (loss !== undefined && whole.length === served.length)
    return no(loss.verdict.reason, sentences([...partly, ...limits, ...ignoredFields(input)]));
  const [noEndpoint] = endpoints.verdicts;
  if (noEndpoint !== undefined && endpoints.isWhole) return no(noEndpoint.reason, sentences(shortcomings));
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
  ignored.push(...annotationTrouble(spec), ...ignoredBackends(spec));
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
