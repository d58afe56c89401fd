import { carriedAddress, carriedPorts, flowRange, seed } from './packet-fields.ts';

/** The number of slots of a group: the range of the hash that chooses one. */
export const slotCount = 1021;
/** The same of a small group, of which there may be one for each Service: its slots are 8 kB of the kernel's memory. */
export const smallSlotCount = 127;

/** Parts of rules, of one family. Hashes leave their result in the mark. */
export type RuleParts = {
  readonly ip: 'ip' | 'ip6';
  readonly hops: string;
  /** Identifies a flow, and a client, in `pins` and `clients`. */
  readonly flow: string;
  readonly client: string;
  /** The flow of the packet that an ICMP error carries. */
  readonly carriedFlow: string;
  readonly isSyn: string;
  /** The number of the listener in the priority. Ends the rule if there is none. */
  readonly listener: string;
  /** Of the flow, the client, or the carried flow: its slot in the mark, and the group of the listener in the priority. */
  readonly toSlot: string;
  /** The same, and the node of the slot in the mark: jumps to the chain that follows. Ends the rule if there is none. */
  readonly toNode: string;
  readonly toNodeOfClient: string;
  readonly toNodeOfCarried: string;
  /** The node of a slot, from the map that follows. */
  readonly inSlot: string;
  readonly checkSource: string;
  readonly checkRanges: string;
  /** The node of a client, if it has one that still serves it: jumps to the chain that follows. */
  readonly toKeeper: string;
};

export function ruleParts(family: 4 | 6): RuleParts {
  const [ip, hops] = family === 4 ? (['ip', 'ip ttl'] as const) : (['ip6', 'ip6 hoplimit'] as const);
  const hash = `jhash ${ip} saddr . ${ip} daddr . th sport . th dport . meta l4proto`;
  const carriedHash = `jhash ${carriedAddress[family]} . ${ip} daddr . ${carriedPorts[family]}`;
  const toSlotBy = (hashed: string): string => `
		meta mark set ${hashed} mod ${slotCount} seed ${seed}
		meta priority set meta priority map @groups
		meta priority @small meta mark set ${hashed} mod ${smallSlotCount} seed ${seed}`;
  const inSlot = 'meta mark set meta priority . meta mark map';
  const toNodeBy = (hashed: string): string => `${toSlotBy(hashed)}
		${inSlot} @slots jump`;
  return {
    ip,
    hops,
    flow: `${hash} mod ${flowRange} seed ${seed}`,
    client: `jhash ${ip} saddr mod ${flowRange} seed ${seed}`,
    carriedFlow: `${carriedHash} mod ${flowRange} seed ${seed}`,
    isSyn: 'tcp flags & (syn | ack) == syn',
    listener: `meta priority set ${ip} daddr . meta l4proto . th dport map @listeners${family}`,
    toSlot: toSlotBy(hash),
    toNode: toNodeBy(hash),
    toNodeOfClient: toNodeBy(`jhash ${ip} saddr . ${ip} daddr`),
    toNodeOfCarried: toNodeBy(carriedHash),
    inSlot,
    checkSource: `
		fib saddr type { local, broadcast, multicast } goto impossible
		${ip} saddr @impossible${family} goto impossible`,
    checkRanges: `meta mark set meta priority map @ranges meta mark . ${ip} saddr != @sources${family} goto refuse`,
    toKeeper: 'meta mark set meta priority . meta mark map @clients meta priority . meta mark @keepers',
  };
}
