import { concatText, scalarText, verdictText } from '../../nftables/listing.ts';
import type { TableSpec } from '../../nftables/table-text.ts';
import { familyChains } from './family-chains.ts';
import { isLaterFragment } from './packet-fields.ts';
import { inheritedSeconds } from './inherited.ts';
import { waitLapseMs } from './first-waits.ts';
import { movedSeconds } from './moved-slots.ts';
import { partingSeconds } from './partings.ts';
import { handoverSeconds } from './handovers.ts';

/** The size of each map that keeps flows, clients or fragments at their nodes, and of the set of flows that may be kept. */
export const mostPins = 262_144;

/** The table at ingress of the LAN devices. Only the kernel writes `pins`, `seen` and `newer`. */
export const directTable: TableSpec = {
  name: 'netdev furiwake',
  family: 5, // NFPROTO_NETDEV
  learns: 'the pins: flows at nodes that drain or are new move to other nodes',
  deviceChain: 'arrive',
  mostRangesRemoved: Infinity, // the pins are worth more than the time
  former: {
    restricted: 'set restricted { type classid;',
    allowed4: 'set allowed4 { type classid . ipv4_addr; flags interval;',
    allowed6: 'set allowed6 { type classid . ipv6_addr; flags interval;',
  },
  sets: {
    listeners4: 'map listeners4 { type ipv4_addr . inet_proto . inet_service : classid;',
    listeners6: 'map listeners6 { type ipv6_addr . inet_proto . inet_service : classid;',
    carried4: 'map carried4 { typeof ip daddr . @th,136,8 . @th,224,16 : meta priority;',
    carried6: 'map carried6 { typeof ip6 daddr . @th,112,8 . @th,384,16 : meta priority;',
    affine: 'set affine { type classid;',
    timeouts: 'map timeouts { type classid : verdict;',
    checked: 'set checked { type classid;',
    keepers: 'set keepers { type classid . mark;',
    mixed: 'set mixed { type classid;',
    unsorted: 'set unsorted { type classid;',
    held4: 'set held4 { type classid . ipv4_addr . inet_service;',
    held6: 'set held6 { type classid . ipv6_addr . inet_service;',
    open: 'set open { type classid; counter;',
    straight: 'map straight { type classid : verdict;',
    flows: 'set flows { type classid; counter;',
    ranges: 'map ranges { type classid : mark;',
    refused: 'set refused { type classid; counter;',
    sources4: 'set sources4 { type mark . ipv4_addr; flags interval;',
    sources6: 'set sources6 { type mark . ipv6_addr; flags interval;',
    groups: 'map groups { type classid : classid;',
    small: 'set small { type classid;',
    slots: 'map slots { type classid . mark : mark;',
    shown: 'set shown { type classid . mark;',
    gateways4: 'map gateways4 { type mark : ipv4_addr;',
    gateways6: 'map gateways6 { type mark : ipv6_addr;',
    links: 'map links { type mark : iface_index;',
    node_macs: 'set node_macs { type ether_addr;',
    impossible4: 'set impossible4 { type ipv4_addr; flags interval;',
    impossible6: 'set impossible6 { type ipv6_addr; flags interval;',
  },
  lapsing: {
    waiting: `set waiting { type classid; flags timeout; timeout ${waitLapseMs / 1000}s;`,
    inherited: `set inherited { type classid; flags timeout; timeout ${inheritedSeconds}s;`,
    handed: `set handed { type classid; flags timeout; timeout ${handoverSeconds}s;`,
    parting: `set parting { type classid; flags timeout; timeout ${partingSeconds}s;`,
    moved: `map moved { type classid . mark : mark; flags timeout; timeout ${movedSeconds}s;`,
  },
  textOf: (set, element) => {
    if (!Array.isArray(element)) return concatText(element);
    const [key, value] = element as readonly unknown[];
    if (set === 'timeouts' || set === 'straight') return `${concatText(key)} : ${verdictText(value)}`;
    return `${concatText(key)} : ${set === 'links' ? JSON.stringify(value) : scalarText(value)}`;
  },
};

const errors4 = '{ destination-unreachable, time-exceeded, parameter-problem }';
const errors6 = '{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }';

/*
 * The path of a packet, at ingress of a LAN device:
 *
 *   to a listener? ─► number of the listener ─► its kind ─► from a node? ─► drop
 *                                                       └► source allowed? ─► pinned? ─► to that node
 *                                                                         └► group of the listener, slot of the flow ─► to its node
 *
 * - Two registers live from rule to rule: the priority (listener, then group) and the mark (source ranges, hash, then node). The
 *   priority is reset before the packet leaves, because queueing disciplines and VLAN devices read it.
 * - A listener that is not in `open` has no group of nodes yet: its packets are dropped, pinned or not, and a client tries
 *   again. If it has no server at all, it is in `mixed`.
 * - The elements of `open`, `flows` and `refused` count: a lookup that finds one adds the packet to it.
 * - An open listener that is not in `mixed` is in `straight`, with the chain for its kind (`straight-chains.ts`). Of any other, `mixed` and
 *   `open` are asked for each packet.
 * - A listener in `mixed` has flows that its stand-in holds, see `stand-ins.ts`: their packets go up the stack, as if there were
 *   no table. A new one from the address and port of one in `held` is the stand-in's as well. A UDP flow of a client with affinity
 *   has no pin of its own: it is at the client's node while `seen` has it.
 * - The packets of a listener in `waiting` are dropped until a node opens it; without furiwake, until the kernel removes the element
 *   (`first-waits.ts`). It is in `mixed` and `unsorted`, so the stand-in has it from then on.
 * - A listener in `inherited` may have connections at nodes that another host sent there (`inherited.ts`): until it is open, a packet
 *   without a pin is dropped, unless `seen` says that its SYN went up the stack.
 * - A listener in `handed` had another Service a moment ago (`handovers.ts`): packets without a pin go up the stack, which resets their
 *   connections, unless their SYN is in `opening`: `pins` may be full.
 * - A listener in `parting` leaves its nodes (`partings.ts`): a packet without a pin goes to the node of before, unless `seen` says that
 *   its SYN went up the stack.
 * - A slot in `moved` had another node a moment ago (`moved-slots.ts`): the ACK of a handshake goes there, unless `newer` says that its SYN
 *   came later.
 * - A transaction may come between two lookups for one packet: before it the listener is not in `mixed`, after it not in `open`.
 *   So the listener of a packet that no node gets is looked up once more (`again`): the packet may be the stand-in's.
 * - A frame for another MAC address is not for this host: a bridge floods it, and a device may be promiscuous.
 * - Where clients and nodes have one device in common, it is part of the rule, and not looked up.
 * - A frame with a VLAN tag has a device of its own, which comes later, without the tag; handed on here, it would keep the tag. VLAN 0
 *   is a priority only.
 * - A frame from a node's MAC has been here before: the node does not know the address, and routed it back. It must not
 *   circle until its TTL ends.
 * - A flow is pinned to its node by a packet that is not a SYN, or by its second datagram within ten seconds: neither a flood
 *   of SYNs nor one of single datagrams fills the map. A connection is pinned for a minute first, by its next packet for `idleSeconds`, so
 *   that forged packets do not fill the map for long; a packet that a node routed back (its TTL was set to 8) does not count. A
 *   SYN deletes the pin of an earlier connection from the same port. Without a change of the slots the hash alone decides the same.
 * - In `checked` are the listeners with affinity, and those of UDP and SCTP with nodes of their own: `keepers` has their nodes with
 *   endpoints, and a client, or a flow of UDP or SCTP, that was pinned to another node is sent to one of these. A connection of TCP
 *   stays where it is: its Pod may have stopped to be ready, and still have it.
 * - A FIN or RST from the client moves the pin to `closing`, where it ends 20 s after the last packet.
 * - A flow for which `pins`, `clients` or `seen` has no room is sent all the same, and counted in `overflow`.
 * - With affinity a client is pinned, not a flow, for the timeout of its Service since its last packet (`timeouts`); by the first one
 *   for a minute (TCP) or three only, so that packets from forged sources do not fill the map for long. The hash leaves the ports out,
 *   so that a client has the same node on all ports of a Service.
 * - A new flow from an address that no client has is dropped, and counted in `spoofed`: this host does not route the packet, so
 *   neither its kernel nor its firewall checks the source.
 * - A map without the key ends the rule, not the chain. So a flow whose node is gone is sent to another one.
 * - An ICMP error (the path MTU, for example) to a VIP concerns one flow, which it carries: it is sent to the node of that
 *   flow, and to no other. The hash over the carried client is the same as over the client's own packets.
 * - Only the first fragment of a datagram has ports. It leaves its node in a map for the others, which follow it in order.
 */
export function directRules(devices: readonly string[], idleSeconds: number): string {
  const hook =
    devices.length === 0
      ? ''
      : `
	chain arrive {
		type filter hook ingress devices = { ${devices.map((device) => `"${device}"`).join(', ')} } priority 0; policy accept;
		meta pkttype != host accept
		vlan id != 0 accept
		${isLaterFragment[4]} goto fragment4
		${isLaterFragment[6]} goto fragment6
		meta priority set ip daddr . meta l4proto . th dport map @listeners4 goto listen4
		meta priority set ip6 daddr . meta l4proto . th dport map @listeners6 goto listen6
		icmp type ${errors4} meta priority set ip daddr . @th,136,8 . @th,224,16 map @carried4 goto error4
		icmpv6 type ${errors6} meta priority set ip6 daddr . @th,112,8 . @th,384,16 map @carried6 goto error6
	}
`;
  const [only] = devices;
  const link = devices.length === 1 ? `"${only}"` : 'meta mark map @links';
  return `
	map pins { type classid . mark : mark; flags dynamic,timeout; timeout 3m; size ${mostPins}; }
	map opening { type classid . mark : mark; flags dynamic,timeout; timeout 1m; size ${mostPins}; }
	map closing { type classid . mark : mark; flags dynamic,timeout; timeout 20s; size ${mostPins}; }
	map clients { type classid . mark : mark; flags dynamic,timeout; timeout 3m; size ${mostPins}; }
	set overflow { type classid; flags dynamic; size 65536; }
	set spoofed { type classid; flags dynamic; size 65536; }
	map fragments { type mark : mark; flags dynamic,timeout; timeout 5s; size ${mostPins}; }
	set seen { type classid . mark; flags dynamic,timeout; timeout 10s; size ${mostPins}; }
	set newer { type classid . mark; flags dynamic,timeout; timeout ${movedSeconds}s; size ${mostPins}; }

	chain stack {
		meta priority set 0 meta mark set 0 accept
	}

	chain impossible {
		update @spoofed { meta priority counter }
		drop
	}

	chain refuse {
		meta priority @refused drop
		drop
	}
${familyChains(4, idleSeconds, link)}${familyChains(6, idleSeconds, link)}${hook}`;
}
