import type { EndpointSlice } from '../api/endpoint-slice.ts';
import type { ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { share } from '../core/share.ts';
import { type ServiceEndpoints, sumOfEndpoints } from '../core/traffic/local.ts';
import type { Store } from '../kube/store.ts';

/** The endpoints of each Service. */
export type LocalEndpoints = {
  /** Of all Services that have some; `undefined` until all EndpointSlices are known. A failed watch leaves them as they are. */
  readonly all: () => PersistentMap<ServiceKey, ServiceEndpoints> | undefined;
  /** Resolves when they are known. */
  readonly known: Promise<void>;
  /** Called with the Services that changed. Returns the end of the subscription. */
  readonly subscribe: (listener: (services: ReadonlySet<ServiceKey>) => void) => () => void;
};

const none: ServiceEndpoints[4] = [];

/** Follows the store of EndpointSlices. A change costs as much as the Services that it concerns have slices. */
export function makeLocalEndpoints(slices: Store<EndpointSlice>): LocalEndpoints {
  const listeners = new Set<(services: ReadonlySet<ServiceKey>) => void>();
  const slicesOf = new Map<ServiceKey, readonly EndpointSlice[]>();
  let known = PersistentMap.empty<string, EndpointSlice>();
  let endpoints = PersistentMap.empty<ServiceKey, ServiceEndpoints>();

  const endpointsOf = (service: ServiceKey): ServiceEndpoints | undefined => {
    const all = slicesOf.get(service) ?? [];
    const of = (family: 4 | 6): ServiceEndpoints[4] => {
      const [first, ...more] = all.filter((slice) => slice.family === family && slice.nodes.length > 0);
      if (first === undefined) return none;
      // Nearly all Services have one slice of each family: it is not copied.
      return more.length === 0 ? first.nodes : sumOfEndpoints([first, ...more].flatMap(({ nodes }) => nodes));
    };
    const groups = all.map(({ family, ports, endpoints: found, nodes }) => ({
      family,
      ports,
      endpoints: found,
      nodes,
    }));
    return groups.length === 0 ? undefined : share(endpoints.get(service), { 4: of(4), 6: of(6), groups });
  };

  slices.subscribe((keys) => {
    const objects = slices.objects();
    const concerned = new Set<ServiceKey>();
    for (const key of keys) {
      const [old, now] = [known.get(key), objects.get(key)];
      if (old?.service !== undefined) {
        concerned.add(old.service);
        const rest = (slicesOf.get(old.service) ?? []).filter((slice) => slice !== old);
        if (rest.length > 0) slicesOf.set(old.service, rest);
        else slicesOf.delete(old.service);
      }
      if (now?.service === undefined) continue;
      concerned.add(now.service);
      slicesOf.set(now.service, [...(slicesOf.get(now.service) ?? []), now]);
    }
    known = objects;
    const before = endpoints;
    endpoints = endpoints.with(Array.from(concerned, (service) => [service, endpointsOf(service)]));
    const changed = new Set(PersistentMap.changedKeys(before, endpoints));
    for (const listener of listeners) listener(changed);
  });

  return {
    known: slices.synced,
    all: () => (slices.isSynced ? endpoints : undefined),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
