import type { Assignment } from '../addresses/assignment.ts';
import { backendsAnnotation } from '../model/contract.ts';
import type { ServicePort, ServiceSpec } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import { hasPodServers } from '../traffic/dataplane.ts';
import type { ServiceEndpoints } from '../traffic/local.ts';
import { choosePods, needsNodePorts, type PodChoice, type PodPlace } from '../traffic/pods.ts';
import { portList } from './sentences.ts';

/** What is known of the endpoints of a Service, and of this host. */
export type PodFacts = { readonly endpoints: ServiceEndpoints | undefined; readonly place: PodPlace };

/** Why connections to a port of an address do not reach Pods, or not all of them. `isWhole`: they reach no server. */
type PodTrouble = { readonly isWhole: boolean; readonly verdict: Verdict };

/** The troubles with the Pods of a Service, each once; none where Pods are not its servers. */
export function podTroubles(
  { addresses }: Pick<Assignment, 'addresses'>,
  spec: ServiceSpec,
  facts: PodFacts | undefined,
): readonly PodTrouble[] {
  const groups = facts?.endpoints?.groups;
  if (facts === undefined || groups === undefined) return [];
  const found = addresses.flatMap(({ ip, served }) =>
    served
      .filter((port) => hasPodServers(spec, port))
      .flatMap((port) => troublesOf(choosePods(ip.family, port, groups, facts.place), port)),
  );
  return [...new Map(found.map((each) => [each.verdict.message, each])).values()];
}

function troublesOf(chosen: PodChoice, port: ServicePort): readonly PodTrouble[] {
  const areNodePortsUsed = needsNodePorts(chosen, port);
  const isWhole = chosen.pods.length === 0 && !areNodePortsUsed;
  const verdicts: Verdict[] = [];
  if (chosen.refused.size > 0) verdicts.push({ reason: 'EndpointsRefused', message: refusedWords(chosen.refused) });
  if (chosen.unrouted.length > 0)
    verdicts.push({ reason: 'NoRouteToPods', message: unroutedWords(chosen, areNodePortsUsed) });
  return verdicts.map((verdict) => ({ isWhole, verdict }));
}

/** The annotation that requests Pods, if its value is not valid, or where HAProxy does not serve a port. */
export function ignoredBackends(spec: ServiceSpec, quote: (text: string) => string): readonly string[] {
  if (spec.backends === undefined) return [];
  if (spec.backends !== 'pods') return [`annotation ${backendsAnnotation}=${quote(spec.backends)} (valid: pods)`];
  const others = spec.ports.filter((port) => !hasPodServers(spec, port));
  if (others.length === 0) return [];
  const ports = portList(others.map(({ port }) => port));
  return [`annotation ${backendsAnnotation}=pods for port ${ports} (only HAProxy has Pods as servers)`];
}

const mostShown = 3;

function listOf(texts: readonly string[]): string {
  const more = texts.length - mostShown;
  return [...texts.slice(0, mostShown), ...(more > 0 ? [`${more} more`] : [])].join(', ');
}

function refusedWords(refused: PodChoice['refused']): string {
  const each = Array.from(refused, ([address, what]) => `${JSON.stringify(address)} (${what})`);
  return `no connections to endpoints that cannot be Pods: ${listOf(each)}`;
}

function unroutedWords({ unrouted }: PodChoice, areNodePortsUsed: boolean): string {
  const what = areNodePortsUsed ? 'NodePorts serve the Service' : 'no connections to some Pods';
  return `${what}, because the load-balancer host has no route to ${listOf(unrouted)} but its default route`;
}
