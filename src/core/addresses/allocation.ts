import type { Family, Ip } from '../ip/ip.ts';
import { formatRange, indexOfRange } from '../ip/range.ts';
import type { HostFacts } from '../model/host.ts';
import type { ListenerKey, ServiceKey } from '../model/names.ts';
import type { ServicePort } from '../model/service.ts';
import type { Site, SiteRange } from '../model/site.ts';
import type { Verdict } from '../reasons.ts';
import { someOf } from '../status/sentences.ts';
import { listenerKey } from '../traffic/table.ts';
import type { AddressRecord } from './assignment.ts';
import { hostNeed } from './host-ports.ts';
import type { Pool } from './pool.ts';
import { SharingGroups } from './sharing-groups.ts';
import { type Tenant, UsedAddresses } from './used-addresses.ts';

/** How many ranges of the pool a message names: each Service with a wrong request has it, in the log, too. */
const mostRanges = 5;

/** A Service as its neighbours on an address see it. */
export type Holder = Tenant & { readonly service: ServiceKey };

/** A Service that asks for addresses. */
export type Claimant = {
  readonly holder: Holder;
  /** The name of the pool that it requests. */
  readonly pool: string | undefined;
  /** Those of its ports that can be served. */
  readonly ports: readonly ServicePort[];
  /** What the Service had before. */
  readonly record: AddressRecord | undefined;
  /** Listeners of the record; a program of the host takes none of them away. */
  readonly recorded: ReadonlySet<ListenerKey>;
};

/** An address that was found for a Service. Without one: why, and whether a port that the host needs is in the way. */
export type SearchResult =
  | { readonly ok: true; readonly ip: Ip }
  | { readonly ok: false; readonly verdict: Verdict; readonly waitsForHost: boolean };

/** An address that was refused. */
type Refusal = Verdict & { readonly ip: Ip };

/**
 * Which Service holds which listener of which address, and the one answer to who may have what: {@link Allocation.mayHave}.
 * A listener has at most one holder, so no listener is ever given twice.
 *
 *   192.0.2.51   80/TCP → lbtest/nginx     443/TCP → shop/web         (two namespaces with one sharing key)
 *   192.0.2.52   80/TCP → shop/web
 *
 * Kept from one plan to the next, so that a plan costs only what changes. Site and pool never change; facts about the host
 * come with each plan.
 */
export class Allocation {
  readonly #site: Site;
  readonly #pool: Pool;
  #host: HostFacts;
  readonly #holders = new Map<ListenerKey, Holder>();
  readonly #used: UsedAddresses;
  readonly #groups = new SharingGroups();
  /** Searches that found nothing. Thousands of Services with the same ports may wait for an address. */
  readonly #failures = new Map<string, SearchResult>();

  constructor(site: Site, pool: Pool, host: HostFacts) {
    this.#site = site;
    this.#pool = pool;
    this.#host = host;
    this.#used = new UsedAddresses(pool);
  }

  beginPlan(host: HostFacts): void {
    this.#host = host;
    this.forgetFailures();
  }

  /** Searches begin again: what they did not find may have become free. */
  forgetFailures(): void {
    this.#failures.clear();
  }

  /**
   * Whether the Service may have these ports of the address, or why not. Asking changes nothing.
   *
   * A Service may keep a recorded address that has left the pool, or that is not of the pool that it requests. It keeps its
   * neighbours there although a sharing key was removed. It may keep no address that the cluster or the host needs. Where the
   * pool is the host's own addresses, it keeps a recorded one of these until the host has another of that family: a cable or the
   * default route may return.
   */
  mayHave(claimant: Claimant, ip: Ip, ports: readonly ServicePort[] = claimant.ports): true | Verdict {
    const need = this.#pool.excluded.get(ip.text);
    if (need !== undefined) return { reason: 'AddressInUse', message: `${ip.text} is in use: ${need}` };
    const isRecorded = claimant.record?.addresses.some(({ text }) => text === ip.text) ?? false;
    const isHost = claimant.record?.hostAddresses?.includes(ip.text) ?? false;
    const mayStay = isRecorded && !(this.#site.handsOutOwn && (!isHost || this.hasFamily(ip.family)));
    if (!mayStay && this.#rangeOf(ip) === undefined) return this.#outsidePool(ip);
    const conflict = isRecorded ? undefined : this.poolConflict(claimant, ip);
    if (conflict !== undefined) return conflict;
    for (const port of ports) {
      const problem =
        hostNeed(this.#site, this.#host, claimant.recorded, ip, port) ?? this.#conflict(claimant, ip, port);
      if (problem !== undefined) return problem;
    }
    return isRecorded || this.#site.handsOutOwn || this.#used.mayShare(claimant.holder, ip) ? true : notShared(ip);
  }

  /** Gives the Service this port of the address if it may have it. It keeps what it holds. */
  claim(claimant: Claimant, ip: Ip, port: ServicePort): true | Verdict {
    const listener = listenerKey(ip, port.port, port.protocol);
    if (this.#holders.get(listener)?.service === claimant.holder.service) return true;
    const answer = this.mayHave(claimant, ip, [port]);
    if (answer !== true) return answer;
    this.#holders.set(listener, claimant.holder);
    this.#count(ip, claimant.holder, 1);
    return true;
  }

  /** Releases a listener that the Service holds. */
  release(listener: ListenerKey, service: ServiceKey): void {
    const holder = this.#holders.get(listener);
    const ip = this.#used.get(listener.slice(0, listener.indexOf('|')));
    if (holder?.service !== service || ip === undefined) return;
    this.#holders.delete(listener);
    this.#count(ip, holder, -1);
  }

  /**
   * The lowest address of the pool that the Service may have: of those that others with its sharing key hold, else of the
   * free ones, else of those that it may share.
   */
  find(claimant: Claimant, family: Family): SearchResult {
    const { namespace, sharingKey = '' } = claimant.holder;
    const ports = claimant.ports.map(({ port, protocol }) => `${port}/${protocol}`).join();
    const demand = `${family} ${claimant.pool ?? ''} ${namespace} ${sharingKey} ${ports}`;
    const known = this.#failures.get(demand);
    if (known !== undefined) return known;
    const found = this.#search(claimant, family);
    if (!found.ok) this.#failures.set(demand, found);
    return found;
  }

  /**
   * Why the Service shares its address `ip` with no other one of its sharing key, although others have another address.
   * `undefined` if there is nothing to explain.
   */
  whyApart(claimant: Claimant, ip: Ip): string | undefined {
    const places = this.#groups.placesOfOthers(claimant.holder, ip.family);
    const [place] = places;
    if (place === undefined || places.some(({ text }) => text === ip.text)) return undefined;
    // It may have just left that address: its record does not count.
    const answer = this.mayHave({ ...claimant, record: undefined, recorded: new Set() }, place);
    return answer === true ? `request ${place.text} to move there` : answer.message;
  }

  /** The Services with this sharing key that hold an address. */
  groupOf(sharingKey: string): readonly ServiceKey[] {
    return this.#groups.members(sharingKey);
  }

  hasFamily(family: Family, pool?: string): boolean {
    return this.#pool.ranges.some((range) => range.family === family && (pool === undefined || range.name === pool));
  }

  /** Whether only Services that request the address or its pool get it, and those of their sharing key. */
  isOnRequest(ip: Ip): boolean {
    return this.#rangeOf(ip)?.isOnRequest === true;
  }

  /**
   * Whether the Service was given the address while it was the host's own, and the pool does not hold it. By now it may be that of
   * another machine.
   */
  isFormerHostAddress({ record }: Claimant, ip: Ip): boolean {
    return record?.hostAddresses?.includes(ip.text) === true && this.#rangeOf(ip) === undefined;
  }

  /** Why the address is not of the pool that the Service requests. One that has left `--addresses` is of every pool. */
  poolConflict({ pool }: Claimant, ip: Ip): Verdict | undefined {
    const range = this.#rangeOf(ip);
    if (pool === undefined || range === undefined || range.name === pool) return undefined;
    return { reason: 'ConflictingRequest', message: `${ip.text} is not of pool ${pool}, which the Service requests` };
  }

  #search(claimant: Claimant, family: Family): SearchResult {
    const refusals: Refusal[] = [];
    for (const ip of this.#candidates(claimant, family)) {
      const answer = this.mayHave(claimant, ip);
      if (answer === true) return { ok: true, ip };
      refusals.push({ ...answer, ip });
    }
    return {
      ok: false,
      verdict: this.hasFamily(family, claimant.pool)
        ? this.#exhausted(claimant, family, refusals)
        : { reason: 'FamilyUnavailable', message: this.#noneOf(family, claimant.pool) },
      waitsForHost: refusals.some(({ reason }) => reason === 'PortInUseOnHost'),
    };
  }

  #noneOf(family: Family, pool: string | undefined): string {
    return this.#site.handsOutOwn
      ? `the load-balancer host has no IPv${family} address on the interface of its default route that can be assigned`
      : `${pool === undefined ? 'the address pool' : `pool ${pool}`} has no IPv${family} addresses`;
  }

  /** Each once. Another Service with the key requested an address of its group that is on request. */
  *#candidates(claimant: Claimant, family: Family): Generator<Ip, void, undefined> {
    const { holder, pool } = claimant;
    const ofGroup = this.#groups
      .placesOfOthers(holder, family)
      .filter((ip) => this.#rangeOf(ip) !== undefined && this.poolConflict(claimant, ip) === undefined);
    yield* ofGroup;
    yield* this.#used.free(family, pool);
    const tried = new Set(ofGroup.map(({ text }) => text));
    yield* this.#used.inUse(family, pool).filter(({ text }) => !tried.has(text));
  }

  #rangeOf(ip: Ip): SiteRange | undefined {
    return this.#pool.ranges[indexOfRange(this.#pool.ranges, ip)];
  }

  #outsidePool({ text }: Ip): Verdict {
    const message = this.#site.handsOutOwn
      ? `requested address ${text} is not the load-balancer host's own address, the only one that is assigned`
      : `requested address ${text} is outside the address pool (${someOf(this.#site.ranges.map(formatRange), mostRanges)})`;
    return { reason: 'AddressNotInPool', message };
  }

  #exhausted({ ports }: Claimant, family: Family, refusals: readonly Refusal[]): Verdict {
    const [first] = refusals;
    if (first === undefined)
      return {
        reason: 'PoolExhausted',
        message: `every IPv${family} address of the pool is on request: request one, or add addresses`,
      };
    if (refusals.length === 1) return { reason: first.reason, message: first.message };
    const all = `${refusals.length} IPv${family} addresses of the pool`;
    const each = refusals.length === 2 ? `both IPv${family} addresses of the pool` : `all ${all}`;
    const [port] = ports;
    const [what, other] =
      ports.length === 1 ? [`port ${port?.port}`, 'another port'] : ['one of its ports', 'other ports'];
    // Names no Service: each Service that waits would need a new status when that one goes.
    const message = refusals.every(({ reason }) => reason === 'PortConflict')
      ? `${what} is in use on ${each}: add addresses, or use ${other}`
      : `none of the ${all} can take this Service: add addresses; the first: ${first.message}`;
    return { reason: 'PoolExhausted', message };
  }

  /** Does not name a Service of another namespace: that name is not for all to read. */
  #conflict(
    { holder: { service, namespace } }: Claimant,
    ip: Ip,
    { port, protocol }: ServicePort,
  ): Verdict | undefined {
    const holder = this.#holders.get(listenerKey(ip, port, protocol));
    if (holder === undefined || holder.service === service) return undefined;
    const message = `port ${port} of ${ip.text} belongs to ${ownerWords(holder, namespace)}; use another port or address`;
    return { reason: 'PortConflict', message };
  }

  #count(ip: Ip, holder: Holder, change: 1 | -1): void {
    this.#groups.count(holder, ip, change);
    this.#used.count(ip, holder, change);
  }
}

function notShared(ip: Ip): Verdict {
  return {
    reason: 'SharingNotAllowed',
    message: `${ip.text} is used by a Service of another namespace: to share it, both need the same annotation furiwake.dev/sharing-key`,
  };
}

/** Does not name a Service of another namespace. */
function ownerWords({ service, namespace }: Holder, reader: string): string {
  return namespace === reader ? `Service ${service}` : 'a Service of another namespace';
}
