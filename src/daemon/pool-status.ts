import type { Plan } from '../controller/controller.ts';
import type { Family, Ip } from '../core/ip/ip.ts';
import { type Exclusion, exclusionsOf, type Pool } from '../core/addresses/pool.ts';
import { countAddresses, countLeft, formatRange, rangeContains } from '../core/ip/range.ts';

export type PoolStatus = {
  /** `192.0.2.200-192.0.2.220`, or with ` on request` at its end; without the excluded addresses. */
  readonly ranges: readonly string[];
  /** How many addresses, as decimal text: an IPv6 range may hold 2^64. */
  readonly size: string;
  /** How many of them are in use. */
  readonly used: number;
  /** Of each family of the pool: how many are in use, and how many (`count`) are not; IPv4 first. */
  readonly left: readonly { readonly family: Family; readonly used: number; readonly count: string }[];
  /** Excluded addresses, lowest first. */
  readonly leftOut: readonly Exclusion[];
  /** The pool is the host's own addresses, and one is in use: Services share it by port, so that none is ever left. */
  readonly isOwn: boolean;
};

/** The usage of the address pool, and its excluded addresses. */
export function poolStatus({
  pool,
  assignments,
}: Pick<Plan, 'assignments'> & { readonly pool: Pick<Pool, 'ranges' | 'excluded'> }): PoolStatus {
  const used = new Map<string, Ip>();
  let isOwn = false;
  for (const { addresses } of assignments.values())
    for (const { ip, isHostAddress } of addresses)
      if (pool.ranges.some((range) => rangeContains(range, ip))) {
        used.set(ip.text, ip);
        isOwn ||= isHostAddress;
      }
  return {
    ranges: pool.ranges.map(
      (range) =>
        `${range.name === undefined ? '' : `${range.name}: `}${formatRange(range)}${range.isOnRequest ? ' on request' : ''}`,
    ),
    size: String(countAddresses(pool.ranges)),
    used: used.size,
    left: countLeft(pool.ranges, used.values()).map(({ count, ...rest }) => ({ ...rest, count: String(count) })),
    leftOut: exclusionsOf(pool),
    isOwn,
  };
}
