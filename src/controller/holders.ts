import type { HostLink } from './controller.ts';
import type { ListenerKey, ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { HostReport } from '../core/traffic/report.ts';

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
function addTo(counts: Map<ServiceKey, number>, service: ServiceKey | undefined, by: number): void {
  if (service === undefined) return;
  const now = (counts.get(service) ?? 0) + by;
  if (now === 0) counts.delete(service);
  else counts.set(service, now);
}
