import type { ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { isDirectToOwnNodes } from '../core/status/unreached-nodes.ts';
import type { HostReport, ListenerReport } from '../core/traffic/report.ts';
import { serviceOfBackend, type TrafficTable } from '../core/traffic/table.ts';

/** The Services whose status may differ after the report `report` that follows `before`. `table`: the published one. */
export function servicesConcerned(
  before: HostReport,
  report: HostReport,
  table: Pick<TrafficTable, 'listeners'> | undefined,
): ReadonlySet<ServiceKey> {
  const concerned = new Set<ServiceKey>();
  for (const key of PersistentMap.changedKeys(before.listeners, report.listeners)) {
    const [old, now] = [before.listeners.get(key), report.listeners.get(key)];
    const wanted = table?.listeners.get(key)?.service;
    if (old?.holder === undefined && saysNothing(old) && saysNothing(now) && now?.holder === wanted) continue;
    for (const service of [old?.holder, now?.holder, wanted]) if (service !== undefined) concerned.add(service);
  }
  // The message of a Service whose packets are dropped says what each node lacks; of one with nodes of its own, what some of them lack.
  if (before.directObstacles !== report.directObstacles || before.health !== report.health)
    for (const [key, each] of report.listeners) {
      if (each.holder === undefined) continue;
      const isConcerned = each.isForwarding ? isDirectToOwnNodes(table?.listeners.get(key)) : !saysNothing(each);
      if (isConcerned) concerned.add(each.holder);
    }
  for (const id of PersistentMap.changedKeys(before.unconfirmed, report.unconfirmed))
    concerned.add(serviceOfBackend(id));
  return concerned;
}

/** The host has begun to program the listener, at most: there is nothing to say of it yet. */
function saysNothing(report: ListenerReport | undefined): boolean {
  if (report === undefined) return true;
  for (const name in report) {
    const value = report[name as keyof ListenerReport];
    if (name !== 'holder' && value !== undefined && value !== false) return false;
  }
  return true;
}

/** Whether a plan may differ after a report: it depends on health, duplicates, links, routes and the host's addresses. */
export function concernsPlan(before: HostReport, report: HostReport): boolean {
  return (
    before.health !== report.health ||
    before.duplicates !== report.duplicates ||
    before.onLink !== report.onLink ||
    before.routed !== report.routed ||
    !isSameHost(before, report)
  );
}

/** The host reports the same addresses of its own, and needs the same. */
export function isSameHost(a: HostReport, b: HostReport): boolean {
  return a.ownAddresses === b.ownAddresses && a.primaryAddresses === b.primaryAddresses && a.needs === b.needs;
}
