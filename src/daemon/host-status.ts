import type { Plan } from '../controller/controller.ts';
import type { Eligibility } from '../core/addresses/eligibility.ts';
import { countAddresses, formatRange, rangeContains } from '../core/ip/range.ts';
import { conditionTypes } from '../core/model/contract.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { Condition, Service } from '../core/model/service.ts';
import { heldWords } from '../core/status/held.ts';
import type { NodeHealth } from '../core/traffic/report.ts';
import type { ProxyObservation } from '../ports/proxy.ts';

/** The data of `furiwake status`; its JSON form is the answer of the admin socket. */
export type HostStatus = {
  readonly version: string;
  readonly pid: number;
  readonly upSeconds: number;
  readonly loadBalancerClass: string;
  /** `undefined` until the API server has answered. */
  readonly cluster: { readonly server: string; readonly kubernetes: string } | undefined;
  /** Why this host is not ready, one sentence each; empty: it is. */
  readonly notReady: readonly string[];
  readonly haproxy:
    | { readonly pid: number; readonly version: string; readonly connections: number; readonly maxConnections: number }
    | undefined;
  readonly pool: PoolStatus | undefined;
  readonly services: readonly ServiceLine[];
  readonly nodes: readonly NodeLine[];
};

export type PoolStatus = {
  /** `192.0.2.200-192.0.2.220`, or with ` on request` at its end; without the excluded addresses. */
  readonly ranges: readonly string[];
  /** How many addresses, as decimal text: an IPv6 range may hold 2^64. */
  readonly size: string;
  /** How many of them are in use. */
  readonly used: number;
  /** Excluded addresses, each with the cause. */
  readonly leftOut: readonly { readonly address: string; readonly reason: string }[];
};

export type ServiceLine = {
  readonly service: string;
  readonly status: 'Serving' | 'Partly served' | 'No endpoints' | 'No nodes' | 'Not served' | 'Pending' | 'Not ours';
  readonly addresses: readonly string[];
  readonly ports: readonly number[];
  /** Reason and message of the condition that explains the status; the message may be empty. */
  readonly reason: string;
  readonly message: string;
  readonly connections: number;
  readonly total: number;
  readonly ageSeconds: number;
};

export type NodeLine = {
  readonly node: string;
  readonly family: 4 | 6;
  readonly state: string;
  /** Since when it has been in this state; `undefined`: since furiwake started. */
  readonly forSeconds: number | undefined;
  /** Its health, and since when: a node that drains may be silent, too. */
  readonly health: NodeHealth;
  readonly healthForSeconds: number | undefined;
  readonly connections: number;
  readonly total: number;
};

/**
 * The Services of this host and those that another implementation holds, with their conditions and HAProxy's counters.
 */
export function serviceLines(
  plan: Pick<Plan, 'assignments' | 'eligibility' | 'table'> | undefined,
  services: ReadonlyMap<ServiceKey, Service>,
  observed: ProxyObservation | undefined,
  nowMs: number,
): readonly ServiceLine[] {
  const counts = countsOf(plan, observed);
  return [...(plan?.eligibility ?? [])]
    .flatMap(([key, eligibility]): ServiceLine[] => {
      const service = services.get(key);
      if (service === undefined || eligibility === 'foreign') return [];
      const addresses = plan?.assignments.get(key)?.addresses ?? [];
      return [
        {
          service: key,
          ...verdictOf(service, eligibility),
          addresses: addresses.map(({ ip }) => ip.text),
          ports: [...new Set(addresses.flatMap(({ served }) => served.map(({ port }) => port)))],
          ...(counts.get(key) ?? { connections: 0, total: 0 }),
          ageSeconds: Math.max(0, Math.round((nowMs - service.createdAtMs) / 1000)),
        },
      ];
    })
    .sort((a, b) => (a.service < b.service ? -1 : 1));
}

/** `nowMs`: monotonic. */
export function nodeLines(observed: ProxyObservation | undefined, nowMs: number): readonly NodeLine[] {
  const secondsSince = (ms: number | undefined): number | undefined =>
    ms === undefined ? undefined : Math.round((nowMs - ms) / 1000);
  return (observed?.servers ?? []).map(({ sinceMs, healthSinceMs, ...server }) => ({
    ...server,
    forSeconds: secondsSince(sinceMs),
    healthForSeconds: secondsSince(healthSinceMs),
  }));
}

/** The usage of the address pool, and its excluded addresses. */
export function poolStatus({ pool, assignments }: Pick<Plan, 'pool' | 'assignments'>): PoolStatus {
  const used = new Set<string>();
  for (const { addresses } of assignments.values())
    for (const { ip } of addresses) if (pool.ranges.some((range) => rangeContains(range, ip))) used.add(ip.text);
  return {
    ranges: pool.ranges.map((range) => `${formatRange(range)}${range.isOnRequest ? ' on request' : ''}`),
    size: String(countAddresses(pool.ranges)),
    used: used.size,
    leftOut: Array.from(pool.excluded, ([address, reason]) => ({ address, reason })),
  };
}

type Counts = { readonly connections: number; readonly total: number };

function countsOf(
  plan: Pick<Plan, 'table'> | undefined,
  observed: ProxyObservation | undefined,
): ReadonlyMap<string, Counts> {
  const counts = new Map<string, Counts>();
  for (const listener of observed?.listeners ?? []) {
    const service = plan?.table.listeners.get(listener.key)?.service;
    if (service === undefined) continue;
    const sum = counts.get(service) ?? { connections: 0, total: 0 };
    counts.set(service, { connections: sum.connections + listener.connections, total: sum.total + listener.total });
  }
  return counts;
}

function verdictOf(service: Service, eligibility: Eligibility): Pick<ServiceLine, 'status' | 'reason' | 'message'> {
  if (eligibility === 'held') return { status: 'Not ours', reason: 'HeldByAnother', message: heldWords(service) };
  if (eligibility === 'leaving')
    return { status: 'Not served', reason: 'Leaving', message: 'furiwake is releasing it' };
  const find = (type: string): Condition | undefined =>
    service.status.conditions.find((condition) => condition.type === type);
  const [assigned, serving] = [find(conditionTypes.addressAssigned), find(conditionTypes.serving)];
  if (assigned === undefined)
    return { status: 'Pending', reason: 'Starting', message: 'no condition has been written yet' };
  if (assigned.status !== 'True') return { status: 'Pending', reason: assigned.reason, message: assigned.message };
  if (serving === undefined)
    return { status: 'Pending', reason: 'Starting', message: 'the endpoints of the Service are not known yet' };
  // A Service that keeps its address although it requests another one is served, and says so.
  if (assigned.reason !== 'Assigned' && serving.status === 'True')
    return { status: 'Serving', reason: assigned.reason, message: assigned.message };
  const message = serving.reason === 'Serving' ? '' : serving.message;
  return { status: statusOf(serving), reason: serving.reason, message };
}

function statusOf({ status, reason }: Condition): ServiceLine['status'] {
  if (status === 'True') return reason === 'PartlyServing' ? 'Partly served' : 'Serving';
  if (reason === 'NoEndpoints') return 'No endpoints';
  return reason === 'NoNodes' ? 'No nodes' : 'Not served';
}
