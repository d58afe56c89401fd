import { type Family, type Ip, ipOf } from '../ip/ip.ts';
import { indexOfRange } from '../ip/range.ts';
import type { SiteRange } from '../model/site.ts';
import { makeRepeats } from '../repeats.ts';
import type { Pool } from './pool.ts';

/** What decides who may be on an address together. */
export type Tenant = { readonly namespace: string; readonly sharingKey: string | undefined };

/** How many listeners of an address its tenant has. */
type Tenancy = Tenant & { readonly listeners: number };

/**
 * Which addresses are in use and by whom, and which ones of a pool are offered next.
 *
 *   pool          192.0.2.51 … 192.0.2.60
 *   in use        192.0.2.51: namespace lbtest with key `pihole`, 4 listeners; 192.0.2.52: namespace shop, 1 listener
 *   cursor        192.0.2.53: all before it are in use, so no search checks them again
 */
export class UsedAddresses {
  readonly #pool: Pool;
  readonly #uses = new Map<string, { readonly ip: Ip; readonly tenancies: readonly Tenancy[] }>();
  /** Of each range of the pool: all addresses before this one are in use. */
  readonly #cursors: bigint[];
  /** Most addresses of a namespace have one tenant with as many listeners. */
  readonly #once = makeRepeats();

  constructor(pool: Pool) {
    this.#pool = pool;
    this.#cursors = pool.ranges.map((range) => range.first);
  }

  /** The address with this text, if it is in use. */
  get(text: string): Ip | undefined {
    return this.#uses.get(text)?.ip;
  }

  /** The tenant has one listener of the address more, or one less. */
  count(ip: Ip, { namespace, sharingKey }: Tenant, change: 1 | -1): void {
    const known = this.#uses.get(ip.text)?.tenancies ?? [];
    const isSame = (each: Tenancy): boolean => each.namespace === namespace && each.sharingKey === sharingKey;
    const listeners = (known.find(isSame)?.listeners ?? 0) + change;
    const others = known.filter((each) => !isSame(each));
    const tenancies = listeners > 0 ? this.#once(others.concat({ namespace, sharingKey, listeners })) : others;
    if (tenancies.length > 0) this.#uses.set(ip.text, { ip, tenancies });
    else {
      this.#uses.delete(ip.text);
      const index = indexOfRange(this.#pool.ranges, ip);
      const cursor = this.#cursors[index];
      if (cursor !== undefined && ip.value < cursor) this.#cursors[index] = ip.value;
    }
  }

  /** True when every tenant of the address is of the same namespace or has the same sharing key. */
  mayShare({ namespace, sharingKey }: Tenant, ip: Ip): boolean {
    const tenancies = this.#uses.get(ip.text)?.tenancies ?? [];
    return tenancies.every(
      (each) => each.namespace === namespace || (sharingKey !== undefined && each.sharingKey === sharingKey),
    );
  }

  /**
   * The addresses of the pool that no Service has, lowest first, and that need no request but that of their pool (`pool`: its
   * name). Costs no more than the addresses in use.
   */
  *free(family: Family, pool: string | undefined): Generator<Ip, void, undefined> {
    for (const [index, range] of this.#pool.ranges.entries()) {
      if (range.family !== family || !isOffered(range, pool)) continue;
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

  /** The others of those, lowest first. */
  inUse(family: Family, pool: string | undefined): readonly Ip[] {
    return Array.from(this.#uses.values(), ({ ip }) => ip)
      .filter((ip) => {
        const range = ip.family === family ? this.#pool.ranges[indexOfRange(this.#pool.ranges, ip)] : undefined;
        return range !== undefined && isOffered(range, pool);
      })
      .sort((a, b) => (a.value < b.value ? -1 : 1));
  }
}

/** Whether a Service gets an address of the range without requesting that address. */
function isOffered({ name, isOnRequest }: SiteRange, pool: string | undefined): boolean {
  return pool === undefined ? isOnRequest === undefined : name === pool;
}
