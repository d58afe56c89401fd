import { makeSubscribers } from '../async/subscribers.ts';
import type { EndpointSlice } from '../api/endpoint-slice.ts';
import type { ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { ServiceEndpoints } from '../core/traffic/local.ts';
import type { Store } from '../kube/store.ts';

/** The endpoints of each Service. */
export type EndpointsByService = {
  /** Of all Services with EndpointSlices; `undefined` until all are known. A failed watch leaves them as they are. */
  readonly all: () => PersistentMap<ServiceKey, ServiceEndpoints> | undefined;
  /** How many may get connections, over all EndpointSlices of both families; `undefined` until all are known. */
  readonly countOf: (service: ServiceKey) => number | undefined;
  /** Resolves when they are known. */
  readonly known: Promise<void>;
  /** False while their watch fails and others work: new Pods and Services are not among them. */
  readonly areCurrent: () => boolean;
  readonly setCurrent: (areCurrent: boolean) => void;
  /** Called when `areCurrent` changes. Returns the end of the subscription. */
  readonly onCurrent: (listener: () => void) => () => void;
  /** Called with the Services that changed. Returns the end of the subscription. */
  readonly subscribe: (listener: EndpointsListener) => () => void;
};

/** `turned`: those of `changed` that got their first or lost their last endpoint, of a family or of a port. */
export type EndpointsListener = (changed: ReadonlySet<ServiceKey>, turned: ReadonlySet<ServiceKey>) => void;

/** Follows the store of EndpointSlices. A change costs as much as the Services that it concerns have slices. */
export function makeEndpointsByService(slices: Store<EndpointSlice>): EndpointsByService {
  const listeners = new Set<EndpointsListener>();
  const currency = makeSubscribers();
  let areCurrent = true;
  let known = PersistentMap.empty<string, EndpointSlice>();
  let endpoints = PersistentMap.empty<ServiceKey, ServiceEndpoints>();

  const countIn = (of: typeof endpoints, service: ServiceKey): number =>
    (of.get(service) ?? []).reduce((sum, group) => sum + group.endpoints.length, 0);

  slices.subscribe((keys) => {
    const objects = slices.objects();
    const groups = new Map<ServiceKey, ServiceEndpoints>();
    const groupsOf = (service: ServiceKey): ServiceEndpoints => groups.get(service) ?? endpoints.get(service) ?? [];
    for (const key of keys) {
      const [old, now] = [known.get(key), objects.get(key)];
      if (old?.service !== undefined)
        groups.set(
          old.service,
          groupsOf(old.service).filter((group) => group !== old),
        );
      // `concat` takes no more room than it needs; most Services have one slice.
      if (now?.service !== undefined) groups.set(now.service, groupsOf(now.service).concat(now));
    }
    known = objects;
    const before = endpoints;
    endpoints = endpoints.with(Array.from(groups, ([key, those]) => [key, those.length === 0 ? undefined : those]));
    const changed = new Set(PersistentMap.changedKeys(before, endpoints));
    const turned = new Set(
      [...changed].filter((service) => servedIn(before.get(service)) !== servedIn(endpoints.get(service))),
    );
    for (const listener of listeners) listener(changed, turned);
  });

  return {
    known: slices.synced,
    all: () => (slices.isSynced ? endpoints : undefined),
    areCurrent: () => areCurrent,
    setCurrent: (now) => {
      if (areCurrent === now) return;
      areCurrent = now;
      currency.tell();
    },
    onCurrent: currency.subscribe,
    countOf: (service) => (slices.isSynced ? countIn(endpoints, service) : undefined),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** The ports that have endpoints, by family, as a text. */
function servedIn(groups: ServiceEndpoints = []): string {
  const served = groups
    .filter((group) => group.endpoints.length > 0)
    .flatMap(({ family, ports }) => [
      `${family}`,
      ...ports.map(({ name, protocol }) => `${family}/${name}/${protocol}`),
    ]);
  return [...new Set(served)].toSorted().join(' ');
}
