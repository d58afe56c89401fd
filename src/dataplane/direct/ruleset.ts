import { concatText, scalarText } from '../nftables/listing.ts';
import type { TableSpec } from '../nftables/table-text.ts';

/** The number of slots of a group: the range of the hash that chooses one. */
export const slotCount = 1021;
/** The same of a small group, of which there may be one for each Service: its slots are 8 kB of the kernel's memory. */
export const smallSlotCount = 127;

/** The size of each map that keeps flows, or clients, at their nodes. */
export const mostPins = 262_144;

/** Part of the hashes, the same on all hosts: with another seed a host that takes over would move every flow. */
const seed = '0x66757269';
/** The range of the hash that identifies a flow in `pins`: the most that nft 1.0.6 accepts. */
const flowRange = 2 ** 31 - 1;

/** The table at ingress of the LAN devices. Only the kernel writes `pins` and `seen`. */
export const directTable: TableSpec = {
  name: 'netdev furiwake',
  family: 5, // NFPROTO_NETDEV
  learns: true,
  mostRangesRemoved: Infinity, // the pins are worth more than the time
  sets: {
    listeners4: 'map listeners4 { type ipv4_addr . inet_proto . inet_service : classid;',
    listeners6: 'map listeners6 { type ipv6_addr . inet_proto . inet_service : classid;',
    carried4: 'map carried4 { typeof ip daddr . @th,136,8 . @th,224,16 : meta priority;',
    carried6: 'map carried6 { typeof ip6 daddr . @th,112,8 . @th,384,16 : meta priority;',
    affine: 'set affine { type classid;',
    mixed: 'set mixed { type classid;',
    unsorted: 'set unsorted { type classid;',
    held4: 'set held4 { type classid . ipv4_addr . inet_service;',
    held6: 'set held6 { type classid . ipv6_addr . inet_service;',
    open: 'set open { type classid; counter;',
    flows: 'set flows { type classid; counter;',
    restricted: 'set restricted { type classid;',
    refused: 'set refused { type classid; counter;',
    allowed4: 'set allowed4 { type classid . ipv4_addr; flags interval;',
    allowed6: 'set allowed6 { type classid . ipv6_addr; flags interval;',
    groups: 'map groups { type classid : classid;',
    small: 'set small { type classid;',
    slots: 'map slots { type classid . mark : mark;',
    gateways4: 'map gateways4 { type mark : ipv4_addr;',
    gateways6: 'map gateways6 { type mark : ipv6_addr;',
    links: 'map links { type mark : iface_index;',
    node_macs: 'set node_macs { type ether_addr;',
  },
  textOf: (set, element) => {
    if (!Array.isArray(element)) return concatText(element);
    const [key, value] = element as readonly unknown[];
    return `${concatText(key)} : ${set === 'links' ? JSON.stringify(value) : scalarText(value)}`;
  },
};

/** The first of several fragments: it has the ports. */
const isFirstFragment = { 4: 'ip frag-off & 0x3fff == 0x2000', 6: 'frag frag-off 0' } as const;
const isLaterFragment = { 4: 'ip frag-off & 0x1fff != 0', 6: 'frag frag-off != 0' } as const;
/** What the fragments of a datagram have in common. */
const datagram = {
  4: `jhash ip saddr . ip daddr . ip id mod ${flowRange} seed ${seed}`,
  6: `jhash ip6 saddr . ip6 daddr . frag id mod ${flowRange} seed ${seed}`,
} as const;

/**
 * The client's address and port in the packet that an ICMP error carries: it was sent by a node, from the VIP to the client.
 * Bits from the ICMP header on, which has 64; then comes the IP header (RFC 791, 20 bytes without options; RFC 8200, 40).
 */
const carriedAddress = { 4: '@th,192,32', 6: '@th,256,128' } as const;
const carriedPorts = { 4: '@th,240,16 . @th,224,16 . @th,136,8', 6: '@th,400,16 . @th,384,16 . @th,112,8' } as const;

function family(name: 4 | 6): string {
  const [ip, hops] = name === 4 ? ['ip', 'ip ttl'] : ['ip6', 'ip6 hoplimit'];
  const hash = `jhash ${ip} saddr . ${ip} daddr . th sport . th dport . meta l4proto`;
  const carriedHash = `jhash ${carriedAddress[name]} . ${ip} daddr . ${carriedPorts[name]}`;
  const flow = `${hash} mod ${flowRange} seed ${seed}`;
  const client = `jhash ${ip} saddr mod ${flowRange} seed ${seed}`;
  const clientHash = `jhash ${ip} saddr . ${ip} daddr`;
  const isSyn = 'tcp flags & (syn | ack) == syn';
  const listener = `meta priority set ${ip} daddr . meta l4proto . th dport map @listeners${name}`;
  const toNodeBy = (hashed: string): string => `
		meta mark set ${hashed} mod ${slotCount} seed ${seed}
		meta priority set meta priority map @groups
		meta priority @small meta mark set ${hashed} mod ${smallSlotCount} seed ${seed}
		meta mark set meta priority . meta mark map @slots jump`;
  const choose = toNodeBy(hash);
  return `
	chain send${name} {
		meta priority set 0
		${isFirstFragment[name]} update @fragments { ${datagram[name]} : meta mark }
		${hops} > 8 ${hops} set 8
		fwd ${ip} to meta mark map @gateways${name} device meta mark map @links
	}

	chain overflow${name} {
		update @overflow { meta priority counter }
		goto send${name}
	}

	chain close${name} {
		update @closing { meta priority . ${flow} : meta mark }
		goto send${name}
	}

	chain end${name} {
		delete @pins { meta priority . ${flow} : meta mark }
		goto close${name}
	}

	chain keep${name} {
		${hops} < 8 goto send${name}
		tcp flags & (fin | rst) != 0 goto end${name}
		meta l4proto tcp update @pins { meta priority . ${flow} timeout 3h : meta mark }
		meta l4proto != tcp update @pins { meta priority . ${flow} timeout 3m : meta mark }
		goto send${name}
	}

	chain pin${name} {
		${listener}
		delete @pins { meta priority . ${flow} : meta mark }
		meta l4proto tcp update @pins { meta priority . ${flow} timeout 1m : meta mark } goto send${name}
		meta l4proto != tcp update @pins { meta priority . ${flow} timeout 3m : meta mark } goto send${name}
		goto overflow${name}
	}

	chain later${name} {${choose} pin${name}
		drop
	}

	chain first${name} {
		meta priority @flows continue${choose} send${name}
		drop
	}

	chain stay${name} {
		tcp flags & (syn | fin | rst) == 0 update @pins { meta priority . ${flow} timeout 3h : meta mark }
		tcp flags & (fin | rst) != 0 delete @pins { meta priority . ${flow} : meta mark }
		meta l4proto != tcp update @seen { meta priority . ${flow} }
		update @clients { meta priority . ${client} timeout 3h : meta mark } goto send${name}
		goto overflow${name}
	}

	chain follow${name} {
		meta mark set ${client}
		meta mark set meta priority . meta mark map @clients jump stay${name}
		goto stack
	}

	chain settle${name} {
		${isSyn} goto send${name}
		${listener}
		delete @clients { meta priority . ${client} : meta mark }
		goto stay${name}
	}

	chain affine${name} {
		${isSyn} meta priority @flows continue
		meta mark set ${client}
		meta mark set meta priority . meta mark map @clients jump stay${name}
		${listener}
		meta l4proto != tcp meta priority @flows continue${toNodeBy(clientHash)} settle${name}
		drop
	}

	chain affineerror${name} {
		meta mark set jhash ${carriedAddress[name]} mod ${flowRange} seed ${seed}
		meta mark set meta priority . meta mark map @clients jump send${name}
		drop
	}

	chain fragment${name} {
		ether saddr @node_macs accept
		meta mark set ${datagram[name]}
		meta mark set meta mark map @fragments jump send${name}
		meta mark set 0
	}

	chain shareerror${name} {
		meta mark set ${carriedHash} mod ${flowRange} seed ${seed}
		meta mark set meta priority . meta mark map @pins jump send${name}
		goto stack
	}

	chain error${name} {
		ether saddr @node_macs drop
		meta priority @mixed goto shareerror${name}
		meta priority != @open drop
		meta priority @affine goto affineerror${name}
		meta mark set ${carriedHash} mod ${flowRange} seed ${seed}
		meta mark set meta priority . meta mark map @pins goto send${name}
${toNodeBy(carriedHash).slice(1)} send${name}
		drop
	}

	chain unpinnedtcp${name} {
		meta mark set meta priority . meta mark map @closing jump close${name}
		${listener}
		goto later${name}
	}

	chain unpinned${name} {
		${listener}
		meta mark set ${flow}
		meta l4proto tcp goto unpinnedtcp${name}
		meta priority . meta mark @seen goto later${name}
		update @seen { meta priority . meta mark }
		goto first${name}
	}

	chain syn${name} {
		delete @pins { meta priority . meta mark : meta mark }
		delete @closing { meta priority . meta mark : meta mark }
		goto first${name}
	}

	chain sharesyn${name} {
		delete @pins { meta priority . ${flow} : meta mark }
		delete @closing { meta priority . ${flow} : meta mark }
		meta priority != @open goto stack
		ether saddr @node_macs drop
		meta priority @restricted meta priority . ${ip} saddr != @allowed${name} goto refuse
		meta priority @open meta priority @flows continue
		meta priority != @affine goto later${name}
		meta mark set ${client}
		meta mark set meta priority . meta mark map @clients jump keep${name}
		${listener}${toNodeBy(clientHash)} pin${name}
		drop
	}

	chain share${name} {
		meta priority . ${ip} saddr . th sport @held${name} goto stack
		meta priority != @unsorted return
		${isSyn} goto sharesyn${name}
		ether saddr @node_macs goto stack
		meta mark set ${flow}
		meta mark set meta priority . meta mark map @pins jump keep${name}
		meta mark set meta priority . meta mark map @closing jump close${name}
		meta l4proto != tcp meta priority . meta mark @seen goto follow${name}
		goto stack
	}

	chain admit${name} {
		meta priority @affine goto affine${name}
		meta mark set ${flow}
		${isSyn} goto syn${name}
		meta mark set meta priority . meta mark map @pins jump keep${name}
		goto unpinned${name}
	}

	chain listen${name} {
		meta priority @mixed jump share${name}
		ether saddr @node_macs drop
		meta priority @restricted meta priority . ${ip} saddr != @allowed${name} goto refuse
		meta priority @open goto admit${name}
		drop
	}
`;
}

const errors4 = '{ destination-unreachable, time-exceeded, parameter-problem }';
const errors6 = '{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }';

/*
 * The path of a packet, at ingress of a LAN device:
 *
 *   to a listener? ─► number of the listener ─► from a node? ─► drop
 *                                            ─► source allowed? ─► pinned? ─► to that node
 *                                                               └► group of the listener, slot of the flow ─► to its node
 *
 * - Two registers live from rule to rule: the priority (listener, then group) and the mark (hash, then node). The priority is
 *   reset before the packet leaves, because queueing disciplines and VLAN devices read it.
 * - A listener that is not in `open` has no group of nodes yet: its packets are dropped, pinned or not, and a client tries
 *   again.
 * - The elements of `open`, `flows` and `refused` count: a lookup that finds one adds the packet to it.
 * - A listener in `mixed` has connections that HAProxy holds, see `stand-ins.ts`: their packets go up the stack, as if there were
 *   no table. A new connection from the address and port of one in `held` is HAProxy's as well.
 * - A frame for another MAC address is not for this host: a bridge floods it, and a device may be promiscuous.
 * - A frame from a node's MAC has been here before: the node does not know the address, and routed it back. It must not
 *   circle until its TTL ends.
 * - A flow is pinned to its node by a packet that is not a SYN, or by its second datagram within ten seconds: neither a flood
 *   of SYNs nor one of single datagrams fills the map. A connection is pinned for a minute first, by its next packet for hours, so
 *   that forged packets do not fill the map for long; a packet that a node routed back (its TTL was set to 8) does not count. A
 *   SYN deletes the pin of an earlier connection from the same port. Without a change of the slots the hash alone decides the same.
 * - A FIN or RST from the client moves the pin to `closing`, where it ends 20 s after the last packet.
 * - A flow for which `pins` or `clients` has no room is sent all the same, and counted in `overflow`.
 * - With affinity a client is pinned, not a flow, for three hours since its last packet. The hash leaves the ports out, so that
 *   a client has the same node on all ports of a Service.
 * - A map without the key ends the rule, not the chain. So a flow whose node is gone is sent to another one.
 * - An ICMP error (the path MTU, for example) to a VIP concerns one flow, which it carries: it is sent to the node of that
 *   flow, and to no other. The hash over the carried client is the same as over the client's own packets.
 * - Only the first fragment of a datagram has ports. It leaves its node in a map for the others, which follow it in order.
 */
export function directRules(devices: readonly string[]): string {
  const hook =
    devices.length === 0
      ? ''
      : `
	chain arrive {
		type filter hook ingress devices = { ${devices.join(', ')} } priority 0; policy accept;
		meta pkttype != host accept
		${isLaterFragment[4]} goto fragment4
		${isLaterFragment[6]} goto fragment6
		meta priority set ip daddr . meta l4proto . th dport map @listeners4 goto listen4
		meta priority set ip6 daddr . meta l4proto . th dport map @listeners6 goto listen6
		icmp type ${errors4} meta priority set ip daddr . @th,136,8 . @th,224,16 map @carried4 goto error4
		icmpv6 type ${errors6} meta priority set ip6 daddr . @th,112,8 . @th,384,16 map @carried6 goto error6
	}
`;
  return `
	map pins { type classid . mark : mark; flags dynamic,timeout; timeout 3m; size ${mostPins}; }
	map closing { type classid . mark : mark; flags dynamic,timeout; timeout 20s; size ${mostPins}; }
	map clients { type classid . mark : mark; flags dynamic,timeout; timeout 3h; size ${mostPins}; }
	set overflow { type classid; flags dynamic; size 65536; }
	map fragments { type mark : mark; flags dynamic,timeout; timeout 5s; size 16384; }
	set seen { type classid . mark; flags dynamic,timeout; timeout 10s; size 262144; }

	chain stack {
		meta priority set 0 meta mark set 0 accept
	}

	chain refuse {
		meta priority @refused drop
		drop
	}
${family(4)}${family(6)}${hook}`;
}
