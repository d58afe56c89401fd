import type { Family } from '../ip/ip.ts';
import type { BackendId } from '../model/names.ts';
import type { ServicePort } from '../model/service.ts';
import { choosePods, type EndpointGroup, type PodPlace } from './pods.ts';
import { hashOf } from './slots.ts';
import { type Listener, type PodBackend, stackDataplane } from './table.ts';

/** The most Pods that get the connections of the host itself to one listener: the table of `nat` has a chain for each number. */
export const mostHostPods = 32;

type HostListener = Pick<Listener, 'address' | 'service' | 'port' | 'protocol' | 'dataplane' | 'standIn'>;

/**
 * The backend of the Pods for the connections of the host itself to a listener that only `direct` serves, which takes packets of LANs
 * alone. `undefined`: something else serves the listener, also for the host.
 */
export function hostBackend(listener: HostListener): BackendId | undefined {
  if (stackDataplane(listener) !== undefined) return undefined;
  const { address, service, port, protocol } = listener;
  return `own${address.family}:${service}:${port}/${protocol}` as BackendId;
}

export function isHostBackend(id: BackendId): boolean {
  return id.startsWith('own');
}

/**
 * The Pods for such connections to a port: of more than {@link mostHostPods} the same ones on every host, which stay when others
 * come or go; all on one target port, that of most of them.
 */
export function planHostPods(
  family: Family,
  port: Pick<ServicePort, 'name' | 'protocol'>,
  groups: readonly EndpointGroup[],
  place: PodPlace,
): PodBackend {
  const { pods } = choosePods(family, port, groups, place);
  const [most = []] = [...Map.groupBy(pods, (pod) => pod.port).values()].sort((a, b) => b.length - a.length);
  if (most.length <= mostHostPods) return { family, pods: most };
  const ranked = most.toSorted((a, b) => Number(a.isDraining) - Number(b.isDraining) || rankOf(a) - rankOf(b));
  const kept = new Set(ranked.slice(0, mostHostPods));
  return { family, pods: most.filter((pod) => kept.has(pod)) };
}

function rankOf({ address }: PodBackend['pods'][number]): number {
  return hashOf(address.text);
}
