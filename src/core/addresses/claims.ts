import { type Family, type Ip, ipOf, parseIp } from '../ip/ip.ts';
import { rangeContains } from '../ip/range.ts';
import type { ListenerKey, ServiceKey } from '../model/names.ts';
import type { SiteRange } from '../model/site.ts';

/** A Service as its neighbours on an address see it. */
export type Holder = {
  readonly service: ServiceKey;
  readonly namespace: string;
  readonly sharingKey: string | undefined;
};

/**
 * Who has which listener of which address. The one place where "never given twice" is decided: a listener can be
 * claimed once. Kept from one plan to the next, so that only what changes hands is looked at.
 *
 *   192.0.2.51|80|TCP → lbtest/nginx
 *   192.0.2.51|443|TCP → shop/web
 */
export class Claims {
  readonly #holders = new Map<ListenerKey, Holder>();
  /** Of each address in use: how many listeners each namespace has with each sharing key. */
  readonly #uses = new Map<string, Map<string, number>>();
  readonly #pool: readonly SiteRange[];
  /** Where the search for a free address of each range begins: all before it are in use. */
  readonly #cursors: bigint[];
  #releases = 0;

  constructor(pool: readonly SiteRange[]) {
    this.#pool = pool;
    this.#cursors = pool.map((range) => range.first);
  }

  /** Grows with each listener that is given back: while it stays, what could not be had cannot be had. */
  get releases(): number {
    return this.#releases;
  }

  holderOf(listener: ListenerKey): ServiceKey | undefined {
    return this.#holders.get(listener)?.service;
  }

  /** Takes the listener; false when another Service has it. A Service may claim again what it has. */
  claim(listener: ListenerKey, claimer: Holder): boolean {
    const holder = this.#holders.get(listener);
    if (holder === claimer) return true;
    if (holder !== undefined && holder.service !== claimer.service) return false;
    const address = addressOf(listener);
    if (holder !== undefined) this.#count(address, holder, -1);
    this.#holders.set(listener, claimer);
    this.#count(address, claimer, 1);
    return true;
  }

  /** The Service may be on the address with those that are there: all are of its namespace, or have the same sharing key. */
  mayShare(address: string, { namespace, sharingKey }: Holder): boolean {
    for (const sharer of this.#uses.get(address)?.keys() ?? []) {
      const end = sharer.indexOf('|');
      if (sharer.slice(0, end) === namespace) continue;
      if (sharingKey === undefined || sharer.slice(end + 1) !== sharingKey) return false;
    }
    return true;
  }

  /** Gives the listener back, if `service` has it. */
  release(listener: ListenerKey, service: ServiceKey): void {
    const holder = this.#holders.get(listener);
    if (holder?.service !== service) return;
    this.#holders.delete(listener);
    this.#releases++;
    const address = addressOf(listener);
    this.#count(address, holder, -1);
    if (!this.#uses.has(address)) this.#searchFrom(address);
  }

  #count(address: string, { namespace, sharingKey }: Holder, change: 1 | -1): void {
    const sharers = this.#uses.get(address) ?? new Map<string, number>();
    const sharer = `${namespace}|${sharingKey ?? ''}`;
    const count = (sharers.get(sharer) ?? 0) + change;
    if (count > 0) sharers.set(sharer, count);
    else sharers.delete(sharer);
    if (sharers.size > 0) this.#uses.set(address, sharers);
    else this.#uses.delete(address);
  }

  inPool(ip: Ip): boolean {
    return this.#pool.some((range) => rangeContains(range, ip));
  }

  hasFamily(family: Family): boolean {
    return this.#pool.some((range) => range.family === family);
  }

  /** Free addresses of the family that need no request, lowest first. Costs no more than the addresses in use, however large the ranges. */
  *free(family: Family): Generator<Ip, void, undefined> {
    for (const [index, range] of this.#pool.entries()) {
      if (range.family !== family || range.isOnRequest) continue;
      let isPrefixInUse = true;
      for (let value = this.#cursors[index] ?? range.first; value <= range.last; value++) {
        const ip = ipOf(family, value);
        if (this.#uses.has(ip.text)) {
          if (isPrefixInUse) this.#cursors[index] = value + 1n;
          continue;
        }
        isPrefixInUse = false;
        yield ip;
      }
    }
  }

  /** Addresses of the pool that are in use and need no request, lowest first: those that could be shared. */
  inUse(family: Family): readonly Ip[] {
    const used: Ip[] = [];
    for (const text of this.#uses.keys()) {
      const ip = parseIp(text);
      if (ip?.family !== family) continue;
      const range = this.#pool.find((each) => rangeContains(each, ip));
      if (range !== undefined && !range.isOnRequest) used.push(ip);
    }
    return used.sort((a, b) => (a.value < b.value ? -1 : 1));
  }

  #searchFrom(address: string): void {
    const ip = parseIp(address);
    if (ip === undefined) return;
    const index = this.#pool.findIndex((range) => rangeContains(range, ip));
    const cursor = this.#cursors[index];
    if (cursor !== undefined && ip.value < cursor) this.#cursors[index] = ip.value;
  }
}

function addressOf(listener: ListenerKey): string {
  return listener.slice(0, listener.indexOf('|'));
}
