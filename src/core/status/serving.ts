import type { Assignment } from '../addresses/assignment.ts';
import { quote } from '../addresses/request.ts';
import type { Family } from '../ip/ip.ts';
import { backendsAnnotation, dataplaneAnnotation } from '../model/contract.ts';
import type { ServiceSpec } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import { haproxyNeed } from '../traffic/port-options.ts';
import { isLocal } from '../traffic/dataplane.ts';
import type { ServiceEndpoints } from '../traffic/local.ts';
import { closedFamilies, servedFamilies, planSourceRanges, type SourceRanges } from '../traffic/source-ranges.ts';
import { plainProfile } from '../traffic/options.ts';
import { isPodBackend, type Listener, listenerKey, localBackend } from '../traffic/table.ts';
import { annotationTrouble, profileTrouble } from './annotation-trouble.ts';
import { closedPorts } from './direct-trouble.ts';
import { lossesOf, verdictsOf } from './losses.ts';
import { nodeNames } from './node-states.ts';
import { endpointTroubles, ignoredBackends } from './pod-trouble.ts';
import { portWords, sentences, someOf } from './sentences.ts';
import type { ConditionContent, Failure, StatusInput } from './status-input.ts';
import { unreachedVerdicts } from './unreached-nodes.ts';

/** How many invalid source ranges a message names. */
const mostNamed = 5;

/** Why ports are not served, or not on every address. */
export function unservedPorts({ addresses, refused }: Assignment): readonly Verdict[] {
  return [...refused, ...addresses.flatMap(({ unserved }) => unserved)];
}

/** What the condition Serving says. `failures`: listeners that are not in force. */
export function servingOf(input: StatusInput, failures: readonly Failure[]): ConditionContent {
  const { service, assignment } = input;
  // An address that is not on the host takes no connections here; the other addresses are served.
  const refusal = failures.find(
    ({ verdict: { reason } }) => reason !== 'AddressNotOnHost' && reason !== 'AnsweredElsewhere',
  );
  if (refusal !== undefined) return no(refusal.verdict.reason, sentences(failures.map(({ verdict }) => verdict)));
  const missing = unservedPorts(assignment);
  const served = assignment.addresses.filter((address) => address.served.length > 0);
  if (served.length === 0) {
    const [{ reason } = { reason: 'NoAddress' as const }] = missing;
    const message = missing.length > 0 ? sentences(missing) : assignment.verdict.message;
    const ignored = annotationTrouble(service.spec).map((words) => `ignored: ${words}`);
    return no(reason, [message, ...ignored].join('; '));
  }
  const endpoints = endpointTroubles(assignment, service.spec, input.podFacts);
  const losses = served.flatMap((address) => lossesOf(address, input, failures));
  const troubles = verdictsOf(losses);
  const whole = losses.filter(({ isWhole }) => isWhole);
  const { sourceRanges } = service.spec;
  const ranges = planSourceRanges(sourceRanges, servedFamilies(assignment), input.isOverBudget);
  const closed = closedFamilies(
    sourceRanges,
    served.map(({ ip }) => ip.family),
  );
  const isClosed =
    ranges.excess !== undefined ||
    served.every(({ ip }) => closed.includes(ip.family) || whole.some(({ address }) => address.ip === ip));
  const unserved = [...troubles, ...missing, ...gapTroubles(input)];
  const partly: readonly Verdict[] =
    unserved.length === 0 ? [] : [{ reason: 'PartlyServing', message: sentences(unserved) }];
  const limits = rangeTroubles(ranges, closed);
  // The first one is the reason.
  const shortcomings = [
    ...(isClosed ? [...limits, ...partly] : [...partly, ...limits]),
    ...waitingSettings(input),
    ...undrainedPorts(input),
    ...refusedHeaders(input),
    ...unconfirmedNodes(input),
    ...unreachedVerdicts(input.unreached),
    ...profileTrouble(service.spec, input.nearestProfile),
    ...endpoints.verdicts,
    ...ignoredFields(input),
  ];
  const [loss] = whole;
  if (loss !== undefined && served.every((address) => whole.some((each) => each.address === address)))
    return no(loss.reason, sentences([...partly, ...limits, ...ignoredFields(input)]));
  const [noEndpoint] = endpoints.verdicts;
  if (noEndpoint !== undefined && endpoints.isWhole) return no(noEndpoint.reason, sentences(shortcomings));
  if (input.hasEndpoints === false) {
    const hasReady = hasSome(input.podFacts.endpoints);
    const where = isLocal(service.spec) && hasReady ? ' on a node that is in use' : '';
    const message =
      input.gaps !== undefined && input.gaps.length > 0 && hasReady
        ? 'no ready endpoint has the targetPort of a port of the Service'
        : `the Service has no ready endpoints${where}`;
    const verdict: Verdict = { reason: 'NoEndpoints', message };
    return no('NoEndpoints', sentences([verdict, ...shortcomings]));
  }
  const [first] = shortcomings;
  if (first === undefined) return { isTrue: true, verdict: { reason: 'Serving', message: 'all ports are served' } };
  const { reason } = first;
  const message = `${reason === 'FieldsNotHonoured' ? 'serving, but ' : ''}${sentences(shortcomings)}`;
  return { isTrue: !isClosed, verdict: { reason, message } };
}

function no(reason: Verdict['reason'], message: string): ConditionContent {
  return { isTrue: false, verdict: { reason, message } };
}

/** Ports that refuse connections because no ready endpoint serves them, beside others. */
function gapTroubles({ assignment, gaps = [], hasEndpoints }: StatusInput): readonly Verdict[] {
  if (gaps.length === 0 || hasEndpoints === false) return [];
  const closed = new Set(gaps);
  /** Both families usually lack the same ports. */
  const addressesByPorts = new Map<string, string[]>();
  for (const { ip, served } of assignment.addresses) {
    const ports = served.filter(({ port, protocol }) => closed.has(listenerKey(ip, port, protocol)));
    if (ports.length === 0) continue;
    const words = ports.length === served.length ? '' : `${portWords(ports.map(({ port }) => port))} of `;
    addressesByPorts.set(words, [...(addressesByPorts.get(words) ?? []), ip.text]);
  }
  return Array.from(addressesByPorts, ([ports, addresses]) => ({
    reason: 'NoEndpoints',
    message: `${ports}${addresses.join(' and ')} ${isSingular(ports, addresses) ? 'has' : 'have'} no ready endpoints`,
  }));
}

/** Whether `port 80 of `, `ports 80, 443 of ` or nothing, before these addresses, is followed by `has`. */
function isSingular(ports: string, addresses: readonly string[]): boolean {
  return ports === '' ? addresses.length === 1 : ports.startsWith('port ');
}

function hasSome(endpoints: ServiceEndpoints | undefined): boolean {
  return endpoints?.some((group) => group.endpoints.length > 0) === true;
}

/** Clients that the source ranges do not permit by mistake: all, or those of the `closed` families. */
function rangeTroubles({ malformed, excess }: SourceRanges, closed: readonly Family[]): readonly Verdict[] {
  const found: Verdict[] = [];
  if (excess !== undefined) found.push({ reason: 'TooManySourceRanges', message: `closed to all clients: ${excess}` });
  if (malformed.length > 0) {
    const [what, effect] = malformed.length === 1 ? ['CIDR', 'it matches'] : ['CIDRs', 'they match'];
    const message = `invalid ${what} ${someOf(malformed.map(quote), mostNamed)} in loadBalancerSourceRanges: ${effect} no client`;
    found.push({ reason: 'InvalidSourceRanges', message });
  }
  for (const family of closed)
    found.push({
      reason: 'InvalidSourceRanges',
      message: `closed to all IPv${family} clients: loadBalancerSourceRanges has no IPv${family} range`,
    });
  return found;
}

/** Ports that take new connections although an administrator drains the Service. */
function undrainedPorts({ assignment, listeners }: StatusInput): readonly Verdict[] {
  const ports = assignment.addresses.flatMap(({ ip, served }) =>
    served.filter(({ port, protocol }) => {
      const listener = listeners.get(listenerKey(ip, port, protocol));
      return listener?.isDraining === true && listener.dataplane === 'direct';
    }),
  );
  if (ports.length === 0) return [];
  const numbers = new Set(ports.map(({ port }) => port));
  const [are, have, them] = numbers.size === 1 ? ['is', 'it has', 'it'] : ['are', 'they have', 'them'];
  const message = `${portWords(numbers)} ${are} not drained: ${have} no nodePort, and direct, which serves ${them}, takes new connections`;
  return [{ reason: 'Drained', message }];
}

/** Ports whose servers do not expect the header of the PROXY protocol. */
function refusedHeaders({ assignment, reports }: StatusInput): readonly Verdict[] {
  const ports = assignment.addresses.flatMap(({ ip, served }) =>
    served.filter(({ port, protocol }) => reports.get(listenerKey(ip, port, protocol))?.isHeaderRefused === true),
  );
  if (ports.length === 0) return [];
  const where = portWords(ports.map(({ port }) => port));
  const message = `servers of ${where} close connections because of the PROXY protocol header: they do not seem to expect it`;
  return [{ reason: 'HeaderRefused', message }];
}

/** Ports that are served without settings that need a reload of HAProxy. */
function waitingSettings({ assignment, listeners, reports }: StatusInput): readonly Verdict[] {
  const portsBy = new Map<string, Set<number>>();
  for (const { ip, served } of assignment.addresses)
    for (const { port, protocol } of served) {
      const key = listenerKey(ip, port, protocol);
      const refusal = reports.get(key)?.refusal;
      if (refusal?.verdict.reason !== 'SettingsWaiting' || refusal.revision !== listeners.get(key)?.revision) continue;
      const { message } = refusal.verdict;
      portsBy.set(message, (portsBy.get(message) ?? new Set<number>()).add(port));
    }
  return Array.from(portsBy, ([why, ports]) => ({
    reason: 'SettingsWaiting',
    message: `${portWords(ports)} ${ports.size === 1 ? 'is' : 'are'} served without new settings: ${why}`,
  }));
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
  const isAffine = spec.sessionAffinity !== 'None' && !isDirect && !everyListener(input, isKeptByHaproxy);
  const isNat = isAffine && everyListener(input, ({ dataplane }) => dataplane === 'nat');
  const remedy = standIn === undefined ? affinityRemedy(spec) : [];
  if (isAffine && !isNat)
    ignored.push(`sessionAffinity=${spec.sessionAffinity} (${['one Pod per node', ...remedy].join('; ')})`);
  const messages = ignored.length === 0 ? [] : [`ignored: ${ignored.join(', ')}`];
  if (isNat)
    messages.push(
      `sessionAffinity=${spec.sessionAffinity}: a client keeps its node, where all clients of this host get one Pod`,
      ...remedy,
    );
  if (standIn !== undefined) messages.push(standIn);
  else if (isLocal(spec) && !isDirect && !spec.ports.every((port) => haproxyNeed(spec, port) !== undefined))
    messages.push(
      `externalTrafficPolicy=Local: Pods do not see the address of the client (with the annotation ${dataplaneAnnotation}: direct they do)`,
    );
  return messages.map((message) => ({ reason: 'FieldsNotHonoured', message }));
}

/** What would keep each client with one Pod; empty: the Service has asked for Pods as servers, and its condition says what they lack. */
function affinityRemedy(spec: ServiceSpec): readonly string[] {
  if (spec.backends === 'pods') return [];
  const needsHaproxy = spec.ports.some((port) => haproxyNeed(spec, port) !== undefined);
  const annotation = needsHaproxy ? `${backendsAnnotation}: pods` : `${dataplaneAnnotation}: direct`;
  return [`${annotation} keeps a client at its Pod`];
}

function everyListener(
  { assignment, listeners }: Pick<StatusInput, 'assignment' | 'listeners'>,
  isTrue: (listener: Listener) => boolean,
): boolean {
  return assignment.addresses.every(({ ip, served }) =>
    served.every(({ port, protocol }) => {
      const listener = listeners.get(listenerKey(ip, port, protocol));
      return listener !== undefined && isTrue(listener);
    }),
  );
}

/** Whether HAProxy keeps each client with one Pod. */
function isKeptByHaproxy({ backend, options }: Listener): boolean {
  return isPodBackend(backend) && (options?.profile ?? plainProfile).affinitySeconds > 0;
}

/** Whether `direct` carries all flows now, and, if another dataplane stands in for it, the reason and the effect. */
function carriersOf({
  assignment,
  listeners,
  reports,
  dropping,
}: StatusInput): readonly [isDirect: boolean, standIn: string | undefined] {
  const { addresses } = assignment;
  const isWanted = everyListener({ assignment, listeners }, ({ dataplane }) => dataplane === 'direct');
  if (dropping === undefined || dropping === 'briefly') return [isWanted, undefined];
  const stoodIn = addresses.flatMap((address) =>
    (closedPorts(address, listeners, reports, true) ?? []).map(({ port, protocol }) => ({
      ...address,
      port,
      protocol,
    })),
  );
  if (stoodIn.length === 0) return [isWanted, undefined];
  const why = [...new Set(stoodIn.flatMap(({ ip }) => dropping[ip.family] ?? []))].join('; ');
  const carriers = new Set(
    stoodIn.map(({ ip, port, protocol }) => listeners.get(listenerKey(ip, port, protocol))?.standIn),
  );
  const names = [...(carriers.has('haproxy') ? ['HAProxy'] : []), ...(carriers.has('nat') ? ['nat'] : [])];
  const stand = `${names.join(' and ')} ${names.length === 1 ? 'stands' : 'stand'}`;
  return [false, `${stand} in for direct, so Pods do not see the addresses of clients: ${why}`];
}
