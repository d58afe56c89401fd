import {
  compareRanges,
  formatRange,
  type IpRange,
  parseRange,
  rangeContains,
  rangeOf,
  rangesOverlap,
  subtractRanges,
} from '../ip/range.ts';
import type { HostFacts } from '../model/host.ts';
import type { NodeName } from '../model/names.ts';
import type { Node } from '../model/node.ts';
import type { Site, SiteRange } from '../model/site.ts';
import { parseIp } from '../ip/ip.ts';
import { isSameMap } from '../persistent-map.ts';
import { share } from '../share.ts';

/** The addresses that may be assigned now. */
export type Pool = {
  /** Sorted, without overlaps and without what is excluded. */
  readonly ranges: readonly SiteRange[];
  /**
   * Addresses that are never assigned, and `first-last` of Pod CIDRs, each with what it is: `address of node n1`. A
   * Service loses an address that is excluded later, but keeps one in the Pod CIDR of a node that joins later.
   */
  readonly excluded: ReadonlyMap<string, string>;
  /** `ranges`, and what Services of other implementations have of the pool: no Pod has these addresses. */
  readonly ofServices: readonly IpRange[];
};

export type PoolInput = {
  readonly site: Site;
  readonly nodes: ReadonlyMap<NodeName, Node>;
  readonly host: HostFacts;
  /** See `makeUsedByOthers`; the same object while its content is the same. */
  readonly usedByOthers?: ReadonlyMap<string, string>;
};

/** The pool for each input; the same object while its content is the same. */
export function makePools(): (input: PoolInput) => Pool {
  let last: { readonly input: PoolInput; readonly pool: Pool } | undefined;
  return (input) => {
    const { site, nodes, host, usedByOthers } = input;
    const { input: old } = last ?? {};
    const isSameInput = old?.site === site && old.nodes === nodes && old.host === host;
    if (isSameInput && old.usedByOthers === usedByOthers && last !== undefined) return last.pool;
    const ranges: readonly SiteRange[] = site.handsOutOwn ? host.primaryAddresses.map(rangeOf) : site.ranges;
    const excluded = excludedFrom(ranges, input);
    const holes = [...excluded.keys()].flatMap((text) => parseRange(text) ?? []);
    const parts = Map.groupBy(ranges, ({ name = '', isOnRequest = false }) => `${name} ${isOnRequest}`);
    const usable = [...parts.values()].flatMap((part) => subtractRanges(part, holes)).toSorted(compareRanges);
    const ofOthers = [...(usedByOthers?.keys() ?? [])].flatMap((text) => parseRange(text) ?? []);
    const ofServices = ofOthers.length === 0 ? usable : [...usable, ...ofOthers].toSorted(compareRanges);
    const before = last?.pool;
    const isSame =
      before !== undefined &&
      share(before.ranges, usable) === before.ranges &&
      share(before.ofServices, ofServices) === before.ofServices &&
      isSameMap(before.excluded, excluded);
    const pool = isSame ? before : { ranges: usable, excluded, ofServices };
    last = { input, pool };
    return pool;
  };
}

function excludedFrom(
  ranges: readonly IpRange[],
  { site, nodes, host, usedByOthers }: PoolInput,
): ReadonlyMap<string, string> {
  const excluded = new Map(usedByOthers);
  for (const [text, what] of host.needs) {
    const ip = parseIp(text);
    if (ip !== undefined && ranges.some((range) => rangeContains(range, ip))) excluded.set(text, what);
  }
  for (const node of nodes.values()) {
    for (const ip of node.allAddresses)
      if (ranges.some((range) => rangeContains(range, ip))) excluded.set(ip.text, `address of node ${node.name}`);
    if (site.handsOutOwn) continue; // no Pod has an address that the host has itself
    for (const cidr of node.podCidrs)
      if (ranges.some((range) => rangesOverlap(range, cidr)))
        excluded.set(formatRange(cidr), `Pod CIDR of node ${node.name}`);
  }
  return excluded;
}

/** What a pool excludes, lowest address first. */
export function exclusionsOf({ excluded }: Pick<Pool, 'excluded'>): readonly Exclusion[] {
  const all = Array.from(excluded, ([address, reason]) => ({ address, reason, range: parseRange(address) }));
  all.sort((a, b) => (a.range && b.range ? compareRanges(a.range, b.range) : 0));
  return all.map(({ address, reason }) => ({ address, reason }));
}

/** `address`: also a range. `reason`: `address of node n1`. */
export type Exclusion = { readonly address: string; readonly reason: string };
