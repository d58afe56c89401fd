import { type Family, type Ip, ipOf, parseIp } from '../ip/ip.ts';
import { type IpRange, rangeContains } from '../ip/range.ts';
import type { ListenerKey, ServiceKey } from '../model/names.ts';

/**
 * Who has which listener of which address while one plan is made. The one place where "never given twice" is decided:
 * a listener can be claimed once, whoever asks.
 *
 *   192.0.2.51|80|TCP → lbtest/nginx
 *   192.0.2.51|443|TCP → shop/web
 */
export class Claims {
  readonly #holders = new Map<ListenerKey, ServiceKey>();
  /** Addresses with a claimed listener; made when somebody first asks, for most plans need none. */
  #used: Set<string> | undefined;
  readonly #pool: readonly IpRange[];
  /** Where the search for a free address of each range goes on: all before it were in use. */
  readonly #cursors: bigint[];

  constructor(pool: readonly IpRange[]) {
    this.#pool = pool;
    this.#cursors = pool.map((range) => range.first);
  }

  holderOf(listener: ListenerKey): ServiceKey | undefined {
    return this.#holders.get(listener);
  }

  /** Takes the listener; false when somebody else has it. Claiming one's own again is no error. */
  claim(listener: ListenerKey, service: ServiceKey): boolean {
    const holder = this.#holders.get(listener);
    if (holder !== undefined) return holder === service;
    this.#holders.set(listener, service);
    this.#used?.add(addressOf(listener));
    return true;
  }

  /** Gives the listener back, if `service` has it. */
  release(listener: ListenerKey, service: ServiceKey): void {
    if (this.#holders.get(listener) !== service) return;
    this.#holders.delete(listener);
    this.#used = undefined;
  }

  inPool(ip: Ip): boolean {
    return this.#pool.some((range) => rangeContains(range, ip));
  }

  hasFamily(family: Family): boolean {
    return this.#pool.some((range) => range.family === family);
  }

  /** Free addresses of the family, lowest first. Costs no more than the addresses in use, however large the ranges. */
  *free(family: Family): Generator<Ip, void, undefined> {
    for (const [index, range] of this.#pool.entries()) {
      if (range.family !== family) continue;
      let isPrefixInUse = true;
      for (let value = this.#cursors[index] ?? range.first; value <= range.last; value++) {
        const ip = ipOf(family, value);
        if (this.#usedAddresses().has(ip.text)) {
          if (isPrefixInUse) this.#cursors[index] = value + 1n;
          continue;
        }
        isPrefixInUse = false;
        yield ip;
      }
    }
  }

  /** Addresses of the pool that are in use, lowest first: those that could be shared. */
  inUse(family: Family): readonly Ip[] {
    const used: Ip[] = [];
    for (const text of this.#usedAddresses()) {
      const ip = parseIp(text);
      if (ip !== undefined && ip.family === family && this.inPool(ip)) used.push(ip);
    }
    return used.sort((a, b) => (a.value < b.value ? -1 : 1));
  }

  #usedAddresses(): Set<string> {
    this.#used ??= new Set(Array.from(this.#holders.keys(), addressOf));
    return this.#used;
  }
}

function addressOf(listener: ListenerKey): string {
  return listener.slice(0, listener.indexOf('|'));
}
