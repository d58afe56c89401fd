import type { Ip } from '../../../core/ip/ip.ts';
import { type IpRange, rangeContains, rangeOf } from '../../../core/ip/range.ts';
import type { TrafficTable } from '../../../core/traffic/table.ts';

export type SourceFacts = {
  readonly nodes: TrafficTable['nodes'];
  readonly excludedNodes: TrafficTable['excludedNodes'];
  /** Addresses of this host. */
  readonly own: ReadonlyMap<string, Ip>;
  /** The ranges of clusterIPs, which no packet has as its source. */
  readonly serviceCidrs: readonly IpRange[];
};

/**
 * Addresses that no client of `direct` has: those of the nodes and of their Pods, also of excluded ones, for which kube-proxy serves an
 * address with `ipMode: VIP` on the node itself, and those of Services. A Pod or Service CIDR with an address of a node or of this host
 * in it is not of the cluster only, and excluded. The ranges do not overlap. The same object for the same facts.
 */
export function makeImpossibleSources(): (facts: SourceFacts) => readonly IpRange[] {
  let last: SourceFacts | undefined;
  let found: readonly IpRange[] = [];
  return (facts) => {
    const { nodes, excludedNodes, own, serviceCidrs } = facts;
    const isSame =
      last?.nodes === nodes &&
      last.excludedNodes === excludedNodes &&
      last.own === own &&
      last.serviceCidrs === serviceCidrs;
    if (isSame) return found;
    last = facts;
    const all = [...nodes.values(), ...excludedNodes];
    const ofNodes = all.flatMap(({ addresses }) => addresses);
    const others = [...ofNodes, ...own.values()];
    const ofCluster = [...serviceCidrs, ...all.flatMap(({ podCidrs }) => podCidrs)].filter(
      (range) => !others.some((address) => rangeContains(range, address)),
    );
    found = outermost([...ofNodes.map(rangeOf), ...ofCluster]);
    return found;
  };
}

/** Those that are part of no other one: CIDRs contain each other, or do not overlap. */
function outermost(ranges: readonly IpRange[]): readonly IpRange[] {
  const sorted = ranges.toSorted((a, b) => a.family - b.family || compare(a.first, b.first) || compare(b.last, a.last));
  const kept: IpRange[] = [];
  for (const range of sorted) {
    const before = kept.at(-1);
    if (before === undefined || before.family !== range.family || before.last < range.first) kept.push(range);
  }
  return kept;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
