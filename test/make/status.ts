import { makeAddressPlanner } from '../../src/core/addresses/plan.ts';
import type { Ip } from '../../src/core/ip/ip.ts';
import type { ListenerKey, NodeName, ServiceKey } from '../../src/core/model/names.ts';
import type { Service } from '../../src/core/model/service.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import { type DesiredStatus, desiredStatus, failuresOf } from '../../src/core/status/desired.ts';
import { nodeTrouble } from '../../src/core/status/node-trouble.ts';
import { makeTrafficPlanner } from '../../src/core/traffic/plan.ts';
import type { ServerExcesses } from '../../src/core/traffic/server-budget.ts';
import type { ProfileExcess } from '../../src/core/traffic/profile-budget.ts';
import type { ServiceEndpoints } from '../../src/core/traffic/local.ts';
import type { PodPlace } from '../../src/core/traffic/pods.ts';
import { emptyReport, type HostReport, type ListenerReport } from '../../src/core/traffic/report.ts';
import type { Listener, TrafficTable } from '../../src/core/traffic/table.ts';
import { byKey, makeHostFacts, makeNode, makeSite, poolOf } from './service.ts';

/** What a host reports of each listener of a table. */
export type Answer = (
  revision: ListenerReport['revision'],
  address: Ip,
  listener: Listener,
) => Partial<ListenerReport> | undefined;

/** Of a listener that nothing is known of. */
export const blankReport: ListenerReport = {
  holder: undefined,
  revision: undefined,
  isForwarding: false,
  isFailing: false,
  isHeaderRefused: false,
  proxyTrouble: undefined,
  tableTrouble: undefined,
  standInTrouble: undefined,
  refusal: undefined,
};

const ready: Answer = (revision) => ({ revision, isForwarding: true });

function reportsOf({ listeners }: TrafficTable, answer: Answer): HostReport['listeners'] {
  return PersistentMap.from(
    [...listeners.values()].flatMap((listener) => {
      const { key, revision, service, address } = listener;
      const report = answer(revision, address, listener);
      if (report === undefined) return [];
      return [[key, { ...blankReport, holder: service, ...report }] as const];
    }),
  );
}

/** The status of the first Service, when all of them share 192.0.2.8 (and 2001:db8::8) and there is one node. */
export function statusOf(
  services: readonly Service[],
  {
    answer = ready,
    nodes = [makeNode('n1', '192.0.2.11', '2001:db8::11')],
    hasEndpoints = true,
    gaps = [],
    overBudget = new Set(),
    overProfiles = new Map(),
    overServers = new Map(),
    dropping,
    unconfirmed = emptyReport.unconfirmed,
    unreached = { 4: undefined, 6: undefined },
    drainedServices = new Set(),
    nowMs = 0,
    endpoints,
    podPlace = { routed: [], reserved: new Map(), pool: [], zone: undefined, drained: new Set() },
    health = emptyReport.health,
  }: {
    answer?: Answer;
    nodes?: readonly ReturnType<typeof makeNode>[];
    hasEndpoints?: boolean | 'not known';
    gaps?: readonly ListenerKey[] | 'not known';
    overBudget?: ReadonlySet<ServiceKey>;
    overProfiles?: ProfileExcess;
    overServers?: ServerExcesses;
    dropping?: Parameters<typeof desiredStatus>[0]['dropping'];
    unconfirmed?: HostReport['unconfirmed'];
    unreached?: Parameters<typeof desiredStatus>[0]['unreached'];
    drainedServices?: ReadonlySet<ServiceKey>;
    nowMs?: number;
    endpoints?: ServiceEndpoints;
    podPlace?: PodPlace;
    health?: HostReport['health'];
  } = {},
): DesiredStatus | undefined {
  const site = makeSite(['192.0.2.8', '2001:db8::8']);
  const { assignments } = makeAddressPlanner()({
    services: byKey(services),
    records: PersistentMap.empty(),
    site,
    host: makeHostFacts(),
    pool: poolOf(site),
  });
  const table = makeTrafficPlanner()({
    services: byKey(services),
    assignments,
    overBudget,
    overProfiles,
    overServers,
    onLink: emptyReport.onLink,
    nodes: new Map(nodes.map((node) => [node.name, node] as [NodeName, typeof node])),
    drained: new Set(),
    drainedServices,
    endpoints:
      endpoints === undefined ? undefined : PersistentMap.from([[services[0]?.key ?? ('' as ServiceKey), endpoints]]),
    podPlace,
  });
  const [service] = services;
  const assignment = assignments.get(service?.key ?? ('' as ServiceKey));
  if (service === undefined || assignment === undefined) throw new Error('the test has no Service');
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const lists = { listeners: table.listeners, reports: reportsOf(table, answer) };
  const failures = failuresOf(assignment, lists);
  if (failures === undefined) return undefined;
  const input = {
    service,
    assignment,
    ...lists,
    podFacts: { endpoints, place: podPlace, excess: overServers.get(service.key) },
    unconfirmed,
    unreached,
    nodeTrouble: nodeTrouble({ nodes: byName, table, health }),
    isOverBudget: overBudget.has(service.key),
    nearestProfile: overProfiles.get(service.key),
    hasEndpoints: hasEndpoints === 'not known' ? undefined : hasEndpoints,
    gaps: gaps === 'not known' ? undefined : gaps,
    dropping,
    nowMs,
  };
  return desiredStatus(input, failures);
}

/** `type → status reason`. */
export function conditions(status: DesiredStatus | undefined): Record<string, string> {
  return Object.fromEntries(
    (status?.conditions ?? []).map((each) => [each.type.replace('furiwake.dev/', ''), `${each.status} ${each.reason}`]),
  );
}
