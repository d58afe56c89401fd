import { messageOf } from '../../src/async/error-words.ts';
import { ApiError, type Cluster } from '../e2e/harness/cluster.ts';
import { type Case, type Manifest, namespace } from './cases.ts';
import { findLacks, type Lack, unjudged } from './lacks.ts';
import { addressesOf, type LiveService, type Seen } from './seen.ts';
import { podsOf, type Site, targetPortOf } from './site.ts';
import { inTime, speakTo } from './speak.ts';
import { findTraces } from './traces.ts';

export type Verdict = 'fully' | 'partly' | 'not';

/** The result of a case. */
export type Judgement = {
  readonly name: string;
  readonly what: string;
  readonly verdict: Verdict;
  /** Ports on all addresses, and how many of them answered the client. */
  readonly ports: number;
  readonly answered: number;
  readonly lacks: readonly Lack[];
  /** From the create until all Services have an address; to about 30 ms. */
  readonly addressMs: number | undefined;
  /** From the delete until no Service exists; likewise. */
  readonly goneMs: number | undefined;
  /** Traces of the case after the deletion. */
  readonly traces: readonly string[];
  /** The conditions and the errors of ports. */
  readonly says: readonly string[];
};

/** A case passes when it is fully served or its Services name the one thing that is missing, and no trace of it is left. */
export function isPassed({ lacks, traces }: Judgement): boolean {
  return traces.length === 0 && lacks.length <= 1 && lacks.every(({ isNamed }) => isNamed);
}

/** Annotations that the judge adds to each Service. */
export type Added = Readonly<Record<string, string>>;

const addressTimeoutMs = 15_000;
/** A Service that has said for so long that it gets no address will not get one. */
const refusalMs = 2_000;
const foreignMs = 5_000;
const goneTimeoutMs = 10_000;

const collection = `/api/v1/namespaces/${namespace}/services`;
const slices = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;

/** Creates the Services of a case, speaks to each port from outside and from the LAN, and deletes them again. */
export async function judge(site: Site, one: Case, added: Added = {}): Promise<Judgement> {
  const none = { addressMs: undefined, goneMs: undefined, traces: [], says: [], answered: 0, ports: 0 };
  try {
    const { live, addressMs } = await deploy(site, one, added);
    const spoken = await speakTo(site, one, live);
    const seen: Seen = { ...spoken, live: await read(site, one) };
    const goneMs = await remove(site, one);
    const lacks = findLacks(seen);
    const answered = seen.spoken.filter(({ fromClient }) => 'pod' in fromClient).length;
    const isServed = answered > 0 || one.needs.includes('foreign-class');
    return {
      name: one.name,
      what: one.what,
      verdict: !isServed ? 'not' : lacks.length === 0 ? 'fully' : 'partly',
      ports: seen.spoken.length,
      answered,
      lacks,
      addressMs,
      goneMs,
      traces: goneMs === undefined ? ['the Service itself'] : await findTraces(site, seen.spoken),
      says: [...seen.live.values()].flatMap(saidBy),
    };
  } catch (error) {
    await remove(site, one);
    site.signal.throwIfAborted();
    const detail = messageOf(error);
    return {
      ...none,
      name: one.name,
      what: one.what,
      verdict: 'not',
      lacks: [{ what: unjudged, detail, isNamed: false }],
    };
  }
}

async function read({ cluster }: Site, { services }: Case): Promise<Seen['live']> {
  const all = services.map(({ metadata }) => cluster.get<LiveService>(`${collection}/${metadata.name}`));
  return new Map((await Promise.all(all)).map((service) => [service.metadata.name, service]));
}

/** Creates the Services; resolves when each has its address or has said that it gets none, or when they are too late. */
async function deploy(
  site: Site,
  one: Case,
  added: Added,
): Promise<{ readonly live: Seen['live']; readonly addressMs: number | undefined }> {
  const startedAt = performance.now();
  for (const service of one.services) await create(site.cluster, service, added);
  const isForeign = one.needs.includes('foreign-class');
  const isSettled = (service: LiveService): boolean => {
    const { conditions = [] } = service.status;
    if (isForeign || conditions.length === 0) return false;
    return addressesOf(service).length > 0 || performance.now() - startedAt > refusalMs;
  };
  let addressMs: number | undefined;
  let live: Seen['live'] = new Map();
  const look = async (): Promise<boolean> => {
    live = await read(site, one);
    const services = [...live.values()];
    if (services.every((service) => addressesOf(service).length > 0))
      addressMs ??= Math.round(performance.now() - startedAt);
    return services.every(isSettled);
  };
  await inTime(look, { signal: site.signal, timeoutMs: isForeign ? foreignMs : addressTimeoutMs });
  return { live, addressMs };
}

async function create(cluster: Cluster, service: Manifest, added: Added): Promise<void> {
  const { metadata, spec } = service;
  const ports = spec.ports.map((port) => ({ ...port, targetPort: targetPortOf(port) }));
  await cluster.create(collection, {
    ...service,
    metadata: { ...metadata, annotations: { ...metadata.annotations, ...added } },
    spec: { ...spec, ports },
  });
  if (spec.selector !== undefined) return;
  type Pod = { readonly status: { readonly podIP: string } };
  const pods = podsOf(service).map((name) => cluster.get<Pod>(`/api/v1/namespaces/${namespace}/pods/${name}`));
  await cluster.create(slices, {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: metadata.name, labels: { 'kubernetes.io/service-name': metadata.name } },
    addressType: 'IPv4',
    ports: ports.map(({ name, targetPort, protocol }) => ({ name, port: targetPort, protocol })),
    endpoints: (await Promise.all(pods)).map(({ status }) => ({
      addresses: [status.podIP],
      conditions: { ready: true },
    })),
  });
}

/** Deletes the Services; the time until they no longer exist, `undefined` if they still do. */
async function remove({ cluster }: Site, { services }: Case): Promise<number | undefined> {
  const startedAt = performance.now();
  const paths = services.map(({ metadata }) => `${collection}/${metadata.name}`);
  for (const path of paths) await cluster.remove(path).catch(ifGone);
  for (const { metadata } of services) await cluster.remove(`${slices}/${metadata.name}`).catch(ifGone);
  const areGone = async (): Promise<boolean> => {
    const left = await Promise.all(paths.map((path) => cluster.get(path).catch(ifGone)));
    return left.every((each) => each === undefined);
  };
  const signal = AbortSignal.timeout(2 * goneTimeoutMs); // also after the judge's own is aborted
  const isGone = await inTime(areGone, { signal, timeoutMs: goneTimeoutMs });
  return isGone ? Math.round(performance.now() - startedAt) : undefined;
}

function ifGone(error: unknown): undefined {
  if (error instanceof ApiError && error.status === 404) return undefined;
  throw error;
}

function saidBy({ metadata, status }: LiveService): readonly string[] {
  const conditions = (status.conditions ?? []).map(
    (each) => `${metadata.name}: ${each.type}=${each.status} ${each.reason}: ${each.message}`,
  );
  const errors = (status.loadBalancer.ingress ?? []).flatMap(({ ip, ports = [] }) =>
    ports.flatMap(({ port, protocol, error }) =>
      error === undefined ? [] : [`${metadata.name}: ${ip} ${port}/${protocol}: ${error}`],
    ),
  );
  return [...conditions, ...errors];
}
