import type { ServiceKey } from '../model/names.ts';
import { byAge, type Service, type ServicePort, type ServiceSpec } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import { hasPort } from './apart-ports.ts';
import { hasPodServers } from './dataplane.ts';
import type { ServiceEndpoints } from './local.ts';
import { hashOf } from './slots.ts';
import type { PodServer } from './table.ts';

/**
 * The most Pods as servers for one Service: each of its ports and families has its own. HAProxy's round robin takes 4,095 in one
 * backend, and the descriptors in reserve are enough for the checks of 4,400 Pods that are silent at once.
 */
export const mostServers = 4_000;

/** The most for all Services of a host: their checks take a fifth of a core (180 ms a second), and HAProxy 6 kB for each. */
export const mostServersOfHost = 20_000;

/** What a Service without NodePorts has when older Services leave less than it asks for. */
export const leastServers = 100;

/** A Service asks for more Pods as servers than it gets. */
export type ServerExcess = {
  readonly wanted: number;
  /** How many its ports without a NodePort get; the others are served by NodePorts. */
  readonly most: number;
  /** Whose limit it exceeds. */
  readonly limit: 'service' | 'host';
};

/** By Service. */
export type ServerExcesses = ReadonlyMap<ServiceKey, ServerExcess>;

type ServersInput = {
  readonly services: PersistentMap<ServiceKey, Service>;
  readonly endpoints: PersistentMap<ServiceKey, ServiceEndpoints> | undefined;
};

/** How many servers a Service asks for, over all ports and families. `unported`: for ports without a NodePort. */
type ServerClaim = { readonly all: number; readonly unported: number };

const none: ServerExcesses = new Map();

/**
 * Finds the Services that ask for too many servers. Older Services have precedence; if one does not fit, younger ones may. Pure, except
 * for a cache: what it remembers of the last call saves work. Returns the same object for the same result.
 */
export function makeServerBudget(
  mostOfService: number = mostServers,
  mostOfHost: number = mostServersOfHost,
): (input: ServersInput) => ServerExcesses {
  let services: ServersInput['services'] = PersistentMap.empty();
  let endpoints: NonNullable<ServersInput['endpoints']> = PersistentMap.empty();
  const claims = new Map<ServiceKey, ServerClaim>();
  let excesses = none;
  return (next) => {
    const changed = new Set([
      ...PersistentMap.changedKeys(services, next.services),
      ...PersistentMap.changedKeys(endpoints, next.endpoints ?? endpoints),
    ]);
    ({ services } = next);
    endpoints = next.endpoints ?? endpoints;
    let isConcerned = false;
    for (const key of changed) {
      const claim = claimOf(services.get(key), endpoints.get(key));
      if (claim !== undefined || claims.has(key)) isConcerned = true;
      if (claim === undefined) claims.delete(key);
      else claims.set(key, claim);
    }
    if (!isConcerned) return excesses;
    const found = excessesOf(claims, services, mostOfService, mostOfHost);
    if (!isSame(found, excesses)) excesses = found;
    return excesses;
  };
}

function claimOf(service: Service | undefined, endpoints: ServiceEndpoints | undefined): ServerClaim | undefined {
  if (service?.spec.backends === undefined || endpoints === undefined) return undefined;
  const { spec } = service;
  let [all, unported] = [0, 0];
  for (const port of spec.ports) {
    if (!hasPodServers(spec, port)) continue;
    for (const group of endpoints) {
      const isUsed = spec.ipFamilies.some((family) => family === group.family) && hasPort(group, port);
      const count = isUsed ? group.endpoints.length : 0;
      all += count;
      if (port.nodePort === 0) unported += count;
    }
  }
  return { all, unported };
}

function excessesOf(
  claims: ReadonlyMap<ServiceKey, ServerClaim>,
  services: ServersInput['services'],
  mostOfService: number,
  mostOfHost: number,
): ServerExcesses {
  const sum = [...claims.values()].reduce((total, { all }) => total + all, 0);
  if (sum <= Math.min(mostOfService, mostOfHost)) return none;
  const excesses = new Map<ServiceKey, ServerExcess>();
  let left = mostOfHost;
  for (const [key, { all, unported }] of byAge(claims, services)) {
    const isOwn = all > mostOfService;
    const asked = isOwn ? Math.min(unported, mostOfService) : all;
    const isFitting = asked <= left;
    const most = isFitting ? mostOfService : leastServers;
    if (isOwn || !isFitting) excesses.set(key, { wanted: all, most, limit: isFitting ? 'service' : 'host' });
    left -= isFitting ? asked : Math.min(unported, most);
  }
  return excesses.size === 0 ? none : excesses;
}

function isSame(a: ServerExcesses, b: ServerExcesses): boolean {
  return (
    a.size === b.size &&
    Array.from(a).every(([key, { wanted, most, limit }]) => {
      const other = b.get(key);
      return other?.wanted === wanted && other.most === most && other.limit === limit;
    })
  );
}

/** Whether NodePorts serve a port because of the excess. */
export function needsFewerServers(
  excess: ServerExcess | undefined,
  { nodePort }: Pick<ServicePort, 'nodePort'>,
): boolean {
  return excess !== undefined && nodePort !== 0;
}

/**
 * Those of the Pods of a port that take its connections: with an excess the same ones on every host, and when a Pod joins or leaves, the
 * others stay (rendezvous hashing). Each port and family gets an equal part, at least one Pod.
 */
export function withinExcess(
  pods: readonly PodServer[],
  { ports, ipFamilies }: Pick<ServiceSpec, 'ports' | 'ipFamilies'>,
  excess: ServerExcess | undefined,
): readonly PodServer[] {
  if (excess === undefined) return pods;
  const parts = ports.filter(({ nodePort }) => nodePort === 0).length * ipFamilies.length;
  const most = Math.max(1, Math.floor(excess.most / parts));
  if (pods.length <= most) return pods;
  const ranked = pods
    .filter(({ isDraining }) => !isDraining)
    .map((pod) => ({ pod, rank: hashOf(pod.address.text) }))
    .sort((a, b) => a.rank - b.rank);
  const kept = new Set(ranked.slice(0, most).map(({ pod }) => pod));
  return pods.filter((pod) => kept.has(pod));
}
