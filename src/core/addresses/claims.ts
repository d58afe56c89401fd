import { type Family, type Ip, ipOf, parseIp } from '../ip/ip.ts';
import { type IpRange, rangeContains } from '../ip/range.ts';
import type { ListenerKey, ServiceKey } from '../model/names.ts';

/**
 * Who has which listener of which address. The one place where "never given twice" is decided: a listener can be
 * claimed once, whoever asks. Goes from one plan to the next, so that only what changes hands is looked at.
 *
 *   192.0.2.51|80|TCP → lbtest/nginx
 *   192.0.2.51|443|TCP → shop/web
 */
export class Claims {
  readonly #holders = new Map<ListenerKey, ServiceKey>();
  /** How many listeners of each address are claimed. */
  readonly #uses = new Map<string, number>();
  readonly #pool: readonly IpRange[];
  /** Where the search for a free address of each range begins: all before it are in use. */
  readonly #cursors: bigint[];
  #releases = 0;

  constructor(pool: readonly IpRange[]) {
    this.#pool = pool;
    this.#cursors = pool.map((range) => range.first);
  }

  /** Grows with each listener that is given back: while it stays, what could not be had cannot be had. */
  get releases(): number {
    return this.#releases;
  }

  holderOf(listener: ListenerKey): ServiceKey | undefined {
    return this.#holders.get(listener);
  }

  /** Takes the listener; false when somebody else has it. Claiming one's own again is no error. */
  claim(listener: ListenerKey, service: ServiceKey): boolean {
    const holder = this.#holders.get(listener);
    if (holder !== undefined) return holder === service;
    this.#holders.set(listener, service);
    const address = addressOf(listener);
    this.#uses.set(address, (this.#uses.get(address) ?? 0) + 1);
    return true;
  }

  /** Gives the listener back, if `service` has it. */
  release(listener: ListenerKey, service: ServiceKey): void {
    if (this.#holders.get(listener) !== service) return;
    this.#holders.delete(listener);
    this.#releases++;
    const address = addressOf(listener);
    const uses = this.#uses.get(address) ?? 0;
    if (uses > 1) this.#uses.set(address, uses - 1);
    else {
      this.#uses.delete(address);
      this.#searchFrom(address);
    }
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
        if (this.#uses.has(ip.text)) {
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
    for (const text of this.#uses.keys()) {
      const ip = parseIp(text);
      if (ip !== undefined && ip.family === family && this.inPool(ip)) used.push(ip);
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
