import type { EndpointSlice } from '../api/endpoint-slice.ts';
import type { HostLink } from './controller.ts';
import type { ListenerKey, ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { HostReport } from '../core/traffic/report.ts';
import type { Store } from '../kube/store.ts';

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

/** For which Services the host may carry connections. */
export type Holders = { holds(service: ServiceKey): boolean };

/** Follows the host's report from call to call, so that a call costs only as much as has changed. */
export function makeHolders(host: Pick<HostLink, 'report'>): Holders {
  const counts = new Map<ServiceKey, number>();
  let last: HostReport['listeners'] = PersistentMap.empty<ListenerKey, never>();
  return {
    holds: (service) => {
      const { listeners } = host.report();
      for (const key of PersistentMap.changedKeys(last, listeners)) {
        addTo(counts, last.get(key)?.holder, -1);
        addTo(counts, listeners.get(key)?.holder, 1);
      }
      last = listeners;
      return counts.has(service);
    },
  };
}

/** Adds to the count of a Service. The map has no Service whose count is 0. */
export function addTo(counts: Map<ServiceKey, number>, service: ServiceKey | undefined, by: number): void {
  if (service === undefined) return;
  const now = (counts.get(service) ?? 0) + by;
  if (now === 0) counts.delete(service);
  else counts.set(service, now);
}
