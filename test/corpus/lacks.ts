import { type Manifest, pools } from './cases.ts';
import { type Answer, notSpoken } from './hosts/ask.ts';
import { addressesOf, type Asker, isReported, requestedBy, requests, type Seen, type Spoken } from './seen.ts';

/** Something that a case asks for and does not get. */
export type Lack = {
  /** One of a few words, for counting: `udp`, `local`. */
  readonly what: string;
  readonly detail: string;
  /** The status of the Service says so. */
  readonly isNamed: boolean;
};

/** The lack that a failed judgement counts as. */
export const unjudged = 'not judged';

const sharingKeys = [
  'metallb.io/allow-shared-ip',
  'metallb.universe.tf/allow-shared-ip',
  'lbipam.cilium.io/sharing-key',
];
const poolKeys = ['metallb.io/address-pool', 'metallb.universe.tf/address-pool'];

const podOnN1 = 'corpus-n1';
/** With `Local`, a connection that a node without a Pod delays takes longer than this. */
const slowMs = 300;

/** Whether a connection under `Local` went straight to the only Pod, which is on n1. */
export function isFromN1(answer: Answer): boolean {
  return 'pod' in answer && answer.pod === podOnN1 && answer.ms <= slowMs;
}

/** What a case lacks, each thing once; empty if it is fully served. */
export function findLacks(seen: Seen): readonly Lack[] {
  const { needs } = seen.case;
  if (needs.includes('foreign-class')) return touched(seen);
  const checks = [
    ...portsLack(seen),
    requestLack(seen),
    needs.includes('dual-stack') && familiesLack(seen),
    needs.includes('shared') && sharingLack(seen),
    needs.includes('local') && localLack(seen),
    needs.includes('affinity') && affinityLack(seen),
    needs.includes('source-ranges') && rangesLack(seen),
    needs.includes('pool-annotation') && poolLack(seen),
  ];
  const lacks = checks.filter((lack) => lack !== false && lack !== undefined);
  return lacks.length === 0 ? denials(seen) : lacks;
}

/** A Service that is fully served must say so. */
function denials({ live }: Seen): readonly Lack[] {
  return [...live.values()].flatMap(({ metadata, status }) => {
    const found = (status.conditions ?? []).find(({ type }) => type === 'furiwake.dev/Serving');
    if (found?.status === 'True' && found.reason === 'Serving') return [];
    const words = found === undefined ? 'nothing' : `${found.reason}: ${found.message}`;
    return [{ what: 'its status', detail: `${metadata.name} is served and says ${words}`, isNamed: false }];
  });
}

/** A Service of another class has no trace of furiwake. */
function touched({ live }: Seen): readonly Lack[] {
  const found = [...live.values()].filter(
    (service) =>
      addressesOf(service).length + (service.metadata.finalizers ?? []).length > 0 ||
      (service.status.conditions ?? []).length > 0,
  );
  return found.map(({ metadata }) => ({
    what: 'foreign-class',
    detail: `${metadata.name} was changed`,
    isNamed: false,
  }));
}

/** Ports without an answer, one lack for each cause. A Service whose request is refused lacks its address, not its ports. */
function portsLack({ case: { needs, services }, live, spoken }: Seen): readonly Lack[] {
  const silent = new Map<string, Spoken[]>();
  for (const one of spoken) {
    const inRanges = needs.includes('source-ranges') ? [one.fromClient] : [one.fromClient, one.fromLan];
    if (inRanges.every((answer) => 'pod' in answer)) continue;
    const isUntried = inRanges.some((answer) => 'failure' in answer && answer.failure === notSpoken);
    if (isUntried && !isReported(live.get(one.service), one.port)) continue;
    const service = manifestOf(services, one.service);
    const { spec } = service;
    if (one.address === undefined && one.port.protocol === 'TCP' && requestedBy(service).length > 0) continue;
    const what =
      spec.allocateLoadBalancerNodePorts === false
        ? 'no-nodeports'
        : one.port.name.endsWith('-proxy')
          ? 'proxy-protocol'
          : one.port.protocol.toLowerCase();
    silent.set(what, [...(silent.get(what) ?? []), one]);
  }
  return [...silent].map(([what, ports]) => ({
    what,
    detail: ports.length > 3 ? `${shown(ports.slice(0, 3))}, … (${ports.length} in all)` : shown(ports),
    isNamed: ports.every(({ service, port }) => isReported(live.get(service), port)),
  }));
}

function shown(ports: readonly Spoken[]): string {
  const failure = (answer: Answer): string | undefined => ('failure' in answer ? answer.failure : undefined);
  return ports
    .map(({ address, port, fromClient, fromLan }) => {
      const why = address === undefined ? 'no address' : (failure(fromClient) ?? `from the LAN: ${failure(fromLan)}`);
      return `${port.port}/${port.protocol} ${why}`;
    })
    .join(', ');
}

function requestLack({ case: { needs, services }, live, spoken }: Seen): Lack | undefined {
  const missed = services.filter((service) => {
    const wanted = requestedBy(service);
    const has = addressesOf(live.get(service.metadata.name));
    const isOnlyPorts = has.length === 0 && !spoken.some((one) => isOf(service, one) && one.port.protocol === 'TCP');
    return wanted.length > 0 && !isOnlyPorts && !isSame(wanted, has);
  });
  const [first] = missed;
  if (first === undefined) return undefined;
  const has = addressesOf(live.get(first.metadata.name)).join(',');
  return {
    what: needs.includes('dhcp')
      ? 'dhcp'
      : first.spec.loadBalancerIP === undefined
        ? 'request-annotation'
        : 'request-field',
    detail: `wants ${requestedBy(first).join(',')}, has ${has || 'none'}`,
    isNamed: missed.every((service) => says(live, service, [...requests, ...requestedBy(service)])),
  };
}

function familiesLack({ case: { services }, live }: Seen): Lack | undefined {
  const missed = services.filter((service) => {
    const has = addressesOf(live.get(service.metadata.name));
    return has.length > 0 && new Set(has.map((ip) => ip.includes(':'))).size < 2;
  });
  if (missed.length === 0) return undefined;
  const detail = missed.map((service) => addressesOf(live.get(service.metadata.name)).join(',')).join(' / ');
  return {
    what: 'dual-stack',
    detail: `has ${detail}`,
    isNamed: missed.every((each) => says(live, each, ['IPv4', 'IPv6'])),
  };
}

function sharingLack({ case: { services }, live }: Seen): Lack | undefined {
  const sets = services.map((service) => addressesOf(live.get(service.metadata.name)).toSorted().join(','));
  if (new Set(sets).size === 1 || sets.includes('')) return undefined;
  return {
    what: 'shared',
    detail: `has ${sets.join(' / ')}`,
    isNamed: services.some((service) => says(live, service, [...sharingKeys, 'shar'])),
  };
}

function localLack({ case: { services }, live, spoken, client, lanclient, onN1 }: Seen): Lack | undefined {
  const served = services.filter(({ metadata }) => addressesOf(live.get(metadata.name)).length > 0);
  const others = new Set(
    spoken.flatMap(({ fromClient, fromLan }) => [...strangers(fromClient, client), ...strangers(fromLan, lanclient)]),
  );
  const empty = onN1.flat();
  const failed = empty.filter((answer) => 'failure' in answer || answer.pod !== podOnN1);
  const slow = empty.filter((answer) => 'ms' in answer && answer.ms > slowMs);
  if (others.size + failed.length + slow.length === 0) return undefined;
  const parts = [
    others.size > 0 && `Pods see ${[...others].toSorted().join(', ')}`,
    failed.length > 0 && `Pods on n1 only: ${failed.length} of ${empty.length} failed`,
    slow.length > 0 && `Pods on n1 only: ${slow.length} of ${empty.length} took over ${slowMs} ms`,
  ];
  return {
    what: 'local',
    detail: parts.filter((part) => part !== false).join('; '),
    isNamed: served.every((service) => says(live, service, ['externalTrafficPolicy', "client's address"])),
  };
}

/** The client's address that the Pod saw, unless it is one of the host that asked. */
export function strangers(answer: Answer, { ip4, ip6 }: Asker): readonly string[] {
  return 'pod' in answer && answer.client !== ip4 && answer.client !== ip6 ? [answer.client] : [];
}

/** All connections of a client may reach one Pod by chance, so a Service that says otherwise is believed. */
function affinityLack({ case: { services }, live, affine }: Seen): Lack | undefined {
  const spread = affine
    .map((answers) => answers.map((answer) => ('pod' in answer ? answer.pod : answer.failure)))
    .filter((names) => new Set(names).size > 1 || names.some((name) => !name.startsWith('corpus-')));
  const isNamed = services.some((service) => says(live, service, ['sessionAffinity']));
  if (spread.length === 0 && !isNamed) return undefined;
  const counts = Map.groupBy(spread.flat(), (name) => name);
  const detail = [...counts].map(([name, all]) => `${name} × ${all.length}`).join(', ');
  return { what: 'affinity', detail: detail || 'kept by chance', isNamed };
}

function rangesLack({ case: { services }, live, spoken }: Seen): Lack | undefined {
  const open = spoken.filter(({ fromLan }) => 'pod' in fromLan);
  if (open.length === 0) return undefined;
  return {
    what: 'source-ranges',
    detail: `open to others: ${open.map(({ port }) => `${port.port}/${port.protocol}`).join(', ')}`,
    isNamed: services.every((service) => says(live, service, ['SourceRanges'])),
  };
}

function poolLack({ case: { services }, live }: Seen): Lack | undefined {
  const missed = services.flatMap((service) => {
    const has = addressesOf(live.get(service.metadata.name));
    return poolKeys
      .map((key) => ({ service, key, pool: service.metadata.annotations[key], has: has.join(',') }))
      .filter(({ pool }) => pool !== undefined && !has.includes(pools.get(pool) ?? ''));
  });
  if (missed.length === 0) return undefined;
  return {
    what: 'pool-annotation',
    detail: missed.map(({ key, pool, has }) => `${key}: ${pool}, has ${has || 'no address'}`).join('; '),
    isNamed: missed.every(({ service, key }) => says(live, service, [key])),
  };
}

/** Whether a condition of the Service contains one of these texts. */
function says(live: Seen['live'], { metadata }: Manifest, texts: readonly string[]): boolean {
  const { conditions = [] } = live.get(metadata.name)?.status ?? {};
  return conditions.some(({ reason, message }) => texts.some((text) => `${reason}: ${message}`.includes(text)));
}

function isSame(left: readonly string[], right: readonly string[]): boolean {
  return left.toSorted().join() === right.toSorted().join();
}

function isOf({ metadata }: Manifest, { service }: Spoken): boolean {
  return metadata.name === service;
}

function manifestOf(services: readonly Manifest[], name: string): Manifest {
  const found = services.find(({ metadata }) => metadata.name === name);
  if (found === undefined) throw new Error(`no Service ${name} in this case`);
  return found;
}
