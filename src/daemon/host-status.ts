import type { Agent } from '../agent/agent.ts';
import type { Plan } from '../controller/controller.ts';
import type { UnwrittenServices } from '../controller/unwritten.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import { type Eligibility, occupiedWords } from '../core/addresses/eligibility.ts';
import { conditionTypes } from '../core/model/contract.ts';
import type { ListenerKey, NodeName, ServiceKey } from '../core/model/names.ts';
import type { Node } from '../core/model/node.ts';
import type { Condition, Protocol, Service } from '../core/model/service.ts';
import type { Reason } from '../core/reasons.ts';
import { type countNodes, exclusionWords, type NodeState } from '../core/status/node-states.ts';
import type { Dataplane } from '../core/traffic/dataplane.ts';
import type { NodeHealth } from '../core/traffic/report.ts';
import type { Clock } from '../ports/clock.ts';
import type { Proxy, ProxyObservation, ServerState } from '../ports/proxy.ts';
import type { PoolStatus } from './pool-status.ts';
import { type Traffic, trafficOfServices } from './traffic.ts';

/** The data of `furiwake status`; its JSON form is the answer of the admin socket. */
export type HostStatus = {
  /** Time of the answer, ISO 8601, as all times here. */
  readonly at: string;
  readonly version: string;
  readonly pid: number;
  readonly upSeconds: number;
  readonly loadBalancerClass: string;
  /** `undefined` until the API server has answered. */
  readonly cluster: { readonly server: string; readonly kubernetes: string } | undefined;
  /** Why this host is not ready, one sentence each; empty: it is. */
  readonly notReady: readonly string[];
  readonly haproxy: HaproxyStatus | undefined;
  /** Why `haproxy` is undefined. */
  readonly haproxyTrouble: string | undefined;
  /** `undefined` without a plan: at the start, and while the Lease is not held. */
  readonly pool: PoolStatus | undefined;
  /** Empty also without a plan. */
  readonly services: readonly ServiceLine[];
  /** Services of type LoadBalancer that furiwake ignores: of another class, or of another namespace than its own. */
  readonly otherServices: number;
  /** How many nodes of the cluster are in each state; `undefined` without a plan. */
  readonly nodeStates: ReturnType<typeof countNodes> | undefined;
  /** Nodes that HAProxy has as servers. */
  readonly nodes: readonly NodeLine[];
  /** The other nodes. */
  readonly unusedNodes: readonly UnusedNode[];
};

export type HaproxyStatus = {
  readonly pid: number;
  readonly version: string;
  /** Since its worker started: all totals count from then on. */
  readonly upSeconds: number;
  readonly connections: number;
  readonly maxConnections: number;
  /** Workers that a reload has replaced and that still have connections. */
  readonly oldWorkers: number;
  /** Theirs, beside `connections`. */
  readonly oldConnections: number;
};

export type UnusedNode = {
  readonly node: string;
  readonly addresses: readonly string[];
  readonly state: Extract<NodeState, 'excluded' | 'without address'>;
  /** May be empty. */
  readonly reason: string;
};

export const serviceStatusWords = [
  'Serving',
  'Partly served',
  'Drained',
  'No endpoints',
  'No nodes',
  'Not served',
  'Pending',
  'Not ours',
] as const;
export type ServiceStatusWord = (typeof serviceStatusWords)[number];

export type ServiceLine = {
  readonly service: string;
  readonly status: ServiceStatusWord;
  readonly addresses: readonly string[];
  readonly ports: readonly { readonly port: number; readonly protocol: Protocol }[];
  /** Reason and message of the condition that explains the status; the message may be empty. */
  readonly reason: string;
  readonly message: string;
  /** Of all its listeners; `undefined` without one, and while no dataplane answers. */
  readonly traffic: Traffic | undefined;
  readonly ageSeconds: number;
};

export type NodeLine = {
  readonly node: string;
  readonly family: 4 | 6;
  readonly address: string;
  readonly state: ServerState;
  /** Since when it has been in this state; `undefined`: since furiwake started. */
  readonly since: string | undefined;
  /** Its health, and since when: a node that drains may be silent, too. */
  readonly health: NodeHealth;
  readonly healthSince: string | undefined;
  readonly connections: number;
  readonly total: number;
  /** Of a node that drains: the dataplanes whose flows to it continue as well, and are not counted. */
  readonly uncounted: readonly Dataplane[];
};

/** Parts of a plan, and the Services as they are now. */
type PlannedServices<Parts extends keyof Plan> = {
  readonly plan: Pick<Plan, Parts>;
  readonly services: ReadonlyMap<ServiceKey, Service>;
  /** This host has removed its addresses: the conditions may be of the time before, because it cannot write others. */
  readonly isWithdrawn?: boolean;
  readonly unwritten?: UnwrittenServices | undefined;
  /** Why this host is not as wanted. A Service that is released waits for it. */
  readonly troubles?: readonly string[];
};

/** The Services of this host and those that another implementation holds, with their conditions and traffic. */
export function serviceLines(
  planned: PlannedServices<'assignments' | 'eligibility' | 'table'>,
  traffic: ReadonlyMap<ListenerKey, Traffic>,
  nowMs: number,
): readonly ServiceLine[] {
  const sums = trafficOfServices(planned.plan.table, traffic);
  return [...planned.plan.eligibility.keys()]
    .flatMap((key) => serviceLine(planned, key, sums.get(key), nowMs) ?? [])
    .sort((a, b) => (a.service < b.service ? -1 : 1));
}

/** One of them; `undefined` if it does not exist, or is of another class or namespace. */
export function serviceLine(
  { plan, services, ...host }: PlannedServices<'assignments' | 'eligibility'>,
  key: ServiceKey,
  traffic: Traffic | undefined,
  nowMs: number,
): ServiceLine | undefined {
  const [service, eligibility] = [services.get(key), plan.eligibility.get(key)];
  if (service === undefined || eligibility === undefined || eligibility === 'foreign') return undefined;
  const addresses = plan.assignments.get(key)?.addresses ?? [];
  return {
    service: key,
    ...verdictOf(service, eligibility, host),
    addresses: addresses.map(({ ip }) => ip.text),
    ports: portsOf(addresses),
    traffic,
    ageSeconds: Math.max(0, Math.round((nowMs - service.createdAtMs) / 1000)),
  };
}

/** How many Services have each status. */
export function countServices({
  plan,
  services,
  ...host
}: PlannedServices<'eligibility'>): ReadonlyMap<ServiceStatusWord, number> {
  const counts = new Map<ServiceStatusWord, number>();
  for (const [key, eligibility] of plan.eligibility) {
    const service = services.get(key);
    if (service === undefined || eligibility === 'foreign') continue;
    const { status } = verdictOf(service, eligibility, host);
    counts.set(status, (counts.get(status) ?? 0) + 1);
  }
  return counts;
}

/** Why there is no observation of HAProxy. It is started with the first table. */
export function haproxyTrouble(agent: Pick<Agent, 'desired'>, proxy: Pick<Proxy, 'trouble'>): string {
  return agent.desired() === undefined ? 'not started' : (proxy.trouble() ?? 'does not answer');
}

/** The nodes that HAProxy has as servers. */
export function nodeLines(
  observed: ProxyObservation | undefined,
  clock: Pick<Clock, 'now' | 'monotonic'>,
  uncounted: (node: NodeName) => readonly Dataplane[],
): readonly NodeLine[] {
  const startMs = clock.now() - clock.monotonic();
  const timeOf = (ms: number | undefined): string | undefined =>
    ms === undefined ? undefined : new Date(startMs + ms).toISOString();
  return (observed?.servers ?? []).map(({ sinceMs, healthSinceMs, ...server }) => ({
    ...server,
    since: timeOf(sinceMs),
    healthSince: timeOf(healthSinceMs),
    uncounted: server.state === 'drain' ? uncounted(server.node) : [],
  }));
}

/** The nodes without servers in HAProxy. */
export function unusedNodes(nodes: ReadonlyMap<NodeName, Node>): readonly UnusedNode[] {
  return [...nodes.values()].flatMap(({ name, excluded, addresses }): readonly UnusedNode[] => {
    const words = exclusionWords(excluded);
    const texts = addresses.map(({ text }) => text);
    if (words !== undefined) return [{ node: name, addresses: texts, state: 'excluded', reason: words }];
    return texts.length === 0 ? [{ node: name, addresses: texts, state: 'without address', reason: '' }] : [];
  });
}

/** How many Services of type LoadBalancer furiwake ignores. */
export function countOtherServices({ plan, services }: PlannedServices<'eligibility'>): number {
  return [...plan.eligibility].filter(
    ([key, eligibility]) => eligibility === 'foreign' && services.get(key)?.spec.type === 'LoadBalancer',
  ).length;
}

/** Each served port once: a dual-stack Service has it on two addresses. */
function portsOf(addresses: Assignment['addresses']): ServiceLine['ports'] {
  const ports = addresses.flatMap(({ served }) => served.map(({ port, protocol }) => ({ port, protocol })));
  return [...new Map(ports.map((each) => [`${each.port}/${each.protocol}`, each])).values()];
}

function releasingWords(troubles: readonly string[]): string {
  const words = 'furiwake is releasing it';
  return troubles.length === 0 ? words : `${words}, which this host delays: ${troubles.join('; ')}`;
}

type ServiceVerdict = Pick<ServiceLine, 'status' | 'reason' | 'message'>;

/** What cannot be written counts instead of the conditions, which may say anything; but an address that is not published is pending. */
function verdictOf(
  { key, status, ...service }: Service,
  eligibility: Eligibility,
  { unwritten, ...host }: Pick<PlannedServices<never>, 'isWithdrawn' | 'troubles' | 'unwritten'>,
): ServiceVerdict {
  const found = unwritten?.get(key);
  const shown = shownVerdict({ ...service, key, status: { ...status, ...found?.wanted } }, eligibility, host);
  if (found === undefined) return shown;
  const { reason, words } = found;
  if (status.ingress.length === 0 && eligibility === 'ours') return { status: 'Pending', reason, message: words };
  const unsaid = { reason, message: words };
  // With `NotWritten` only the conditions are of before: the reason stays that of the state of now.
  const [first, then] = reason === 'NotWritten' ? [shown, unsaid] : [unsaid, shown];
  return { ...shown, reason: first.reason, message: [first.message, then.message].filter(Boolean).join('; ') };
}

function shownVerdict(
  service: Service,
  eligibility: Eligibility,
  { isWithdrawn = false, troubles = [] }: Pick<PlannedServices<never>, 'isWithdrawn' | 'troubles'>,
): ServiceVerdict {
  if (eligibility === 'occupied')
    return { status: 'Not ours', reason: 'HeldByAnother', message: occupiedWords(service) };
  if (eligibility === 'leaving') return { status: 'Not served', reason: 'Leaving', message: releasingWords(troubles) };
  const find = (type: string): Condition | undefined =>
    service.status.conditions.find((condition) => condition.type === type);
  const [assigned, serving] = [find(conditionTypes.addressAssigned), find(conditionTypes.serving)];
  if (assigned === undefined)
    return { status: 'Pending', reason: 'Starting', message: 'no condition has been written yet' };
  if (assigned.status !== 'True') return { status: 'Pending', reason: assigned.reason, message: assigned.message };
  if (serving === undefined)
    return { status: 'Pending', reason: 'Starting', message: 'the endpoints of the Service are not known yet' };
  if (isWithdrawn && serving.status === 'True')
    return { status: 'Not served', reason: 'Withdrawn', message: 'this host has withdrawn its addresses' };
  // A Service may keep its address although it requests another one: this explains the status, too.
  const explained = [assigned, serving].filter(({ reason }) => reason !== 'Assigned' && reason !== 'Serving');
  const status = statusOf(serving, service.status.ingress.length > 0);
  const reason = serving.reason === 'Serving' ? (explained[0]?.reason ?? serving.reason) : serving.reason;
  const words = explained.map(({ message }) => message);
  return { status, reason, message: [...notesOf(assigned), ...words].join('; ') };
}

/** `ignored: …` of `assigned 192.0.2.7; ignored: …`: the table shows the addresses, but not the rest. */
function notesOf({ reason, message }: Condition): readonly string[] {
  return reason === 'Assigned' ? message.split('; ').slice(1) : [];
}

/** Reasons of `Serving=True` with which a port, an address or some clients are not served. */
const partlyReasons: ReadonlySet<string> = new Set<Reason>(['PartlyServing', 'InvalidSourceRanges']);

function statusOf({ status, reason }: Condition, isPublished: boolean): ServiceLine['status'] {
  if (status === 'True') return partlyReasons.has(reason) ? 'Partly served' : 'Serving';
  if (reason === 'Drained') return 'Drained';
  if (reason === 'NoEndpoints') return 'No endpoints';
  if (reason === 'NoNodes') return 'No nodes';
  // The host did not take a change: what is still published was accepted before.
  const isRefusal = reason === 'DataplaneError' || reason === 'HaproxyUnchanged';
  return isRefusal && isPublished ? 'Partly served' : 'Not served';
}
