import type { Ip } from '../../../core/ip/ip.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import { emptyTable, type TrafficTable } from '../../../core/traffic/table.ts';

/**
 * The links of the addresses of listeners. Only those of listeners that changed are looked up, and all when `isRefresh` is set; until
 * then a link of an address that is gone stays.
 */
export function makeVipLinks(
  linkOf: (address: Ip) => string | undefined,
): (listeners: TrafficTable['listeners'], isRefresh: boolean) => ReadonlySet<string> {
  let before = emptyTable.listeners;
  let links: ReadonlySet<string> = new Set();
  return (listeners, isRefresh) => {
    const changed = PersistentMap.changedKeys(isRefresh ? emptyTable.listeners : before, listeners);
    const found = changed.flatMap((key) => {
      const listener = listeners.get(key);
      return (listener && linkOf(listener.address)) ?? [];
    });
    links = new Set([...(isRefresh ? [] : links), ...found]);
    before = listeners;
    return links;
  };
}
