import type { Assignment } from '../addresses/assignment.ts';
import type { Family } from '../ip/ip.ts';
import type { ListenerKey, ServiceKey, ServiceUid } from '../model/names.ts';
import type { Service, ServicePort } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import { hasPort } from './apart-ports.ts';
import { hasHadFinalizer } from './carriers.ts';
import type { ServiceEndpoints } from './local.ts';
import type { EndpointGroup } from './pods.ts';
import { listenerKey, type TrafficTable } from './table.ts';

/**
 * The listeners of a Service that no endpoint serves, so that kube-proxy refuses their connections on every node: the Service has no
 * EndpointSlice, none of the family with endpoints, or none with a port of that name (`targetPort` is a name that no Pod has).
 */
export function listenersWithoutEndpoints(
  { spec }: { readonly spec: Pick<Service['spec'], 'ports'> },
  { addresses }: Pick<Assignment, 'addresses'>,
  groups: ServiceEndpoints = [],
): readonly ListenerKey[] {
  if (isOutdated(groups, spec.ports)) return [];
  const used = groups.filter((group) => group.endpoints.length > 0);
  const isUsed = (family: Family, port: ServicePort): boolean =>
    used.some((group) => group.family === family && hasPort(group, port));
  return addresses.flatMap(({ ip, served }) =>
    served.filter((port) => !isUsed(ip.family, port)).map(({ port, protocol }) => listenerKey(ip, port, protocol)),
  );
}

/** The listeners of a Service without endpoints. `areAll`: it has no others. */
export type Gaps = { readonly listeners: readonly ListenerKey[]; readonly areAll: boolean };

export const noGaps: Gaps = { listeners: [], areAll: false };

export function gapsOf(
  service: { readonly spec: Pick<Service['spec'], 'ports'> },
  assignment: Pick<Assignment, 'addresses'>,
  groups: ServiceEndpoints | undefined,
): Gaps {
  const listeners = listenersWithoutEndpoints(service, assignment, groups);
  const count = assignment.addresses.reduce((sum, { served }) => sum + served.length, 0);
  return { listeners, areAll: listeners.length > 0 && listeners.length === count };
}

/** They have a port that the Service does not have: a port was renamed, and the EndpointSlices follow. */
function isOutdated(groups: readonly EndpointGroup[], ports: readonly ServicePort[]): boolean {
  const names = new Set(ports.map(textOf));
  return groups.some((group) => group.ports.some((port) => !names.has(textOf(port))));
}

function textOf({ name, protocol }: Pick<ServicePort, 'name' | 'protocol'>): string {
  return `${name}/${protocol}`;
}

/** Whether the table has exactly those of the listeners of the Service that are without endpoints: none before its finalizer. */
export function isPlannedWith(
  { withoutEndpoints }: Pick<TrafficTable, 'withoutEndpoints'>,
  service: Service,
  assignment: Assignment,
  endpoints: ServiceEndpoints | undefined,
): boolean {
  if (!hasHadFinalizer(service)) return true;
  const now = new Set(listenersWithoutEndpoints(service, assignment, endpoints));
  return assignment.addresses.every(({ ip, served }) =>
    served.every(({ port, protocol }) => {
      const key = listenerKey(ip, port, protocol);
      return (withoutEndpoints?.get(key) === service.uid) === now.has(key);
    }),
  );
}

type EndpointsInput = {
  readonly services: PersistentMap<ServiceKey, Service>;
  readonly assignments: PersistentMap<ServiceKey, Assignment>;
  readonly endpoints: PersistentMap<ServiceKey, ServiceEndpoints> | undefined;
};

/**
 * The listeners without endpoints, with their Services; the same object while they are the same, and `undefined` while the endpoints are
 * not known. Compares with the last call: a changed Service costs as much as it has ports.
 */
export function makeWithoutEndpoints(): (input: EndpointsInput) => TrafficTable['withoutEndpoints'] {
  const found = new Map<ServiceKey, readonly ListenerKey[]>();
  let without = PersistentMap.empty<ListenerKey, ServiceUid>();
  let last = {
    services: PersistentMap.empty<ServiceKey, Service>(),
    assignments: PersistentMap.empty<ServiceKey, Assignment>(),
    endpoints: PersistentMap.empty<ServiceKey, ServiceEndpoints>(),
  };
  return ({ services, assignments, endpoints }) => {
    if (endpoints === undefined) return undefined;
    const changed = new Set([
      ...PersistentMap.changedKeys(last.services, services),
      ...PersistentMap.changedKeys(last.assignments, assignments),
      ...PersistentMap.changedKeys(last.endpoints, endpoints),
    ]);
    last = { services, assignments, endpoints };
    const changes = new Map<ListenerKey, ServiceUid | undefined>();
    // First all that leave: a listener may be another Service's now.
    for (const key of changed) for (const listener of found.get(key) ?? []) changes.set(listener, undefined);
    for (const key of changed) {
      const [service, assignment] = [services.get(key), assignments.get(key)];
      const mayHaveListeners = service !== undefined && assignment !== undefined && hasHadFinalizer(service);
      const now = mayHaveListeners ? listenersWithoutEndpoints(service, assignment, endpoints.get(key)) : [];
      if (service === undefined || now.length === 0) found.delete(key);
      else {
        found.set(key, now);
        for (const listener of now) changes.set(listener, service.uid);
      }
    }
    without = without.with(changes);
    return without;
  };
}
