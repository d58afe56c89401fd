import type { Assignment } from '../addresses/assignment.ts';
import { quote } from '../addresses/request.ts';
import { backendsAnnotation } from '../model/contract.ts';
import type { ServicePort, ServiceSpec } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import { backendsTrouble, hasPodServers } from '../traffic/dataplane.ts';
import type { ServiceEndpoints } from '../traffic/local.ts';
import { isLocal } from '../traffic/dataplane.ts';
import { mostServers, mostServersOfHost, needsFewerServers, type ServerExcess } from '../traffic/server-budget.ts';
import { choosePods, localEndpoints, needsNodePorts, type PodChoice, type PodPlace } from '../traffic/pods.ts';
import { portList } from './sentences.ts';

/**
 * The endpoints of a Service, the place of this host, and what is too much. `endpoints`: `undefined` while there are none, or they are not
 * known.
 */
export type PodFacts = {
  readonly endpoints: ServiceEndpoints | undefined;
  readonly place: PodPlace;
  readonly excess: ServerExcess | undefined;
};

/** Why connections do not reach endpoints, of one port on one address or of all. */
export type EndpointTroubles = {
  readonly verdicts: readonly Verdict[];
  /** They reach none, on no port. */
  readonly isWhole: boolean;
};

const noTroubles: EndpointTroubles = { verdicts: [], isWhole: false };

/** The troubles where Pods are the servers of the Service, or decide which nodes are (`externalTrafficPolicy: Local`). */
export function endpointTroubles(
  { addresses }: Pick<Assignment, 'addresses'>,
  spec: ServiceSpec,
  { endpoints, place, excess }: PodFacts,
): EndpointTroubles {
  if (endpoints === undefined) return noTroubles;
  const found = addresses.flatMap(({ ip, served }) =>
    served.map((port): EndpointTroubles => {
      if (hasPodServers(spec, port)) {
        if (needsFewerServers(excess, port)) return noTroubles;
        return ofPods(choosePods(ip.family, port, endpoints, place), port);
      }
      return isLocal(spec) ? ofNodes(localEndpoints(ip.family, endpoints)) : noTroubles;
    }),
  );
  const troubles = found.flatMap((each) => each.verdicts);
  const verdicts = excess === undefined ? troubles : [tooMany(spec, excess), ...troubles];
  return {
    verdicts: [...new Map(verdicts.map((verdict) => [verdict.message, verdict])).values()],
    isWhole: troubles.length > 0 && found.every(({ isWhole }) => isWhole),
  };
}

/** Which ports NodePorts serve, and how many Pods the others have, because Pods as servers of all ports would be too many. */
function tooMany(spec: ServiceSpec, { wanted, most, limit }: ServerExcess): Verdict {
  const ports = spec.ports.filter((port) => hasPodServers(spec, port));
  const { true: unported = [], false: ported = [] } = Object.groupBy(ports, ({ nodePort }) => `${nodePort === 0}`);
  const list = (those: readonly ServicePort[]): string => portList(those.map(({ port }) => port));
  const parts = [
    ...(ported.length > 0 ? [`NodePorts serve port ${list(ported)}`] : []),
    ...(unported.length > 0
      ? [`port ${list(unported)} (without a nodePort) has some of its Pods, at most ${most} in all`]
      : []),
  ];
  const whose =
    limit === 'service'
      ? `more than ${mostServers}`
      : `more than older Services leave of the ${mostServersOfHost} of this load balancer`;
  const message = `${parts.join('; ')}: Pods as servers would be ${wanted} over all ports and families, ${whose}`;
  return { reason: 'TooManyServers', message };
}

function ofPods(chosen: PodChoice, port: ServicePort): EndpointTroubles {
  const areNodePortsUsed = needsNodePorts(chosen, port);
  const verdicts: Verdict[] = [];
  if (chosen.refused.size > 0)
    verdicts.push({
      reason: 'EndpointsRefused',
      message: `no connections to endpoints that cannot be Pods: ${refusedWords(chosen.refused)}`,
    });
  if (chosen.unrouted.length > 0)
    verdicts.push({ reason: 'NoRouteToPods', message: unroutedWords(chosen, areNodePortsUsed) });
  return { verdicts, isWhole: chosen.pods.length === 0 && !areNodePortsUsed };
}

function ofNodes({ count, refused }: ReturnType<typeof localEndpoints>): EndpointTroubles {
  if (refused.size === 0) return noTroubles;
  const message = `endpoints that cannot be Pods give their nodes no connections: ${refusedWords(refused)}`;
  return { verdicts: [{ reason: 'EndpointsRefused', message }], isWhole: count === 0 };
}

/** The annotation that requests Pods, if its value is not valid, or where HAProxy does not serve a port. */
export function ignoredBackends(spec: ServiceSpec): readonly string[] {
  if (spec.backends !== 'pods') return backendsTrouble(spec.backends);
  const others = spec.ports.filter((port) => !hasPodServers(spec, port));
  if (others.length === 0) return [];
  const isAlsoServed = ({ port }: ServicePort): boolean =>
    spec.ports.some((each) => each.port === port && hasPodServers(spec, each));
  const { true: shared = [], false: apart = [] } = Object.groupBy(others, (port) => `${isAlsoServed(port)}`);
  const ports = [portList(apart.map(({ port }) => port)), ...shared.map(({ port, protocol }) => `${port}/${protocol}`)]
    .filter((text) => text !== '')
    .join(', ');
  return [`annotation ${backendsAnnotation}=pods for port ${ports} (only HAProxy has Pods as servers)`];
}

const mostShown = 3;

function listOf(texts: readonly string[]): string {
  const more = texts.length - mostShown;
  return [...texts.slice(0, mostShown), ...(more > 0 ? [`${more} more`] : [])].join(', ');
}

function refusedWords(refused: PodChoice['refused']): string {
  return listOf(Array.from(refused, ([address, what]) => `${quote(address)} (${what})`));
}

function unroutedWords({ unrouted }: PodChoice, areNodePortsUsed: boolean): string {
  const what = areNodePortsUsed ? 'NodePorts serve the Service' : 'no connections to some Pods';
  return `${what}, because the load-balancer host has no route to ${listOf(unrouted)} but its default route`;
}
