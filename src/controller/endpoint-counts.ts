import type { EndpointSlice } from '../api/endpoint-slice.ts';
import type { ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Store } from '../kube/store.ts';
import { addTo } from './holders.ts';

/** Ready endpoints by Service. */
export type EndpointCounts = {
  /** Over all EndpointSlices of the Service, of both families; `undefined` until all EndpointSlices are known. */
  readonly of: (service: ServiceKey) => number | undefined;
  /** Called with the Services that got their first or lost their last ready endpoint. Returns the end of the subscription. */
  readonly subscribe: (listener: (services: ReadonlySet<ServiceKey>) => void) => () => void;
};

/** Follows the store of EndpointSlices. A change costs as much as there are slices that changed. */
export function makeEndpointCounts(slices: Store<EndpointSlice>): EndpointCounts {
  const counts = new Map<ServiceKey, number>();
  const listeners = new Set<(services: ReadonlySet<ServiceKey>) => void>();
  let counted = PersistentMap.empty<string, EndpointSlice>();

  slices.subscribe((keys) => {
    const before = new Map<ServiceKey, number>();
    const add = ({ service, ready }: EndpointSlice, sign: 1 | -1): void => {
      if (service !== undefined && !before.has(service)) before.set(service, counts.get(service) ?? 0);
      addTo(counts, service, sign * ready);
    };
    const objects = slices.objects();
    for (const key of keys) {
      const [old, now] = [counted.get(key), objects.get(key)];
      if (old !== undefined) add(old, -1);
      if (now !== undefined) add(now, 1);
    }
    counted = objects;
    const turned = new Set<ServiceKey>();
    for (const [service, count] of before) if ((count === 0) !== !counts.has(service)) turned.add(service);
    if (turned.size > 0) for (const listener of listeners) listener(turned);
  });

  return {
    of: (service) => (slices.isSynced ? (counts.get(service) ?? 0) : undefined),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
