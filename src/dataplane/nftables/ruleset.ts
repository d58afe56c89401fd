import { flowMark } from './flow-mark.ts';
import { concatText, scalarText } from './listing.ts';
import { hex, type TableSpec } from './table-text.ts';

/**
 * One bit of the packet mark; other programs keep theirs. kube-proxy has 0x4000 and 0x8000, Cilium 0x0f00,
 * Calico 0xffff0000, Tailscale 0xff0000, wg-quick 0xca6c: 0x2000 is in none of them.
 */
export const markBit = 0x2000;

/** The table in front of HAProxy. */
export const steeringTable: TableSpec = {
  name: 'inet furiwake',
  family: 1, // NFPROTO_INET
  learns: undefined,
  mostRangesRemoved: 20, // with 10,000 ranges, removing one takes 10 ms (the kernel checks all), replacing all 0.4 s
  sets: {
    listeners4: 'map listeners4 { type ipv4_addr . inet_service : inet_service;',
    listeners6: 'map listeners6 { type ipv6_addr . inet_service : inet_service;',
    ranges4: 'map ranges4 { type ipv4_addr . inet_service : classid;',
    ranges6: 'map ranges6 { type ipv6_addr . inet_service : classid;',
    refused4: 'set refused4 { type ipv4_addr . inet_service; counter;',
    refused6: 'set refused6 { type ipv6_addr . inet_service; counter;',
    sources4: 'set sources4 { type classid . ipv4_addr; flags interval;',
    sources6: 'set sources6 { type classid . ipv6_addr; flags interval;',
    closed4: 'set closed4 { type ipv4_addr . inet_service;',
    closed6: 'set closed6 { type ipv6_addr . inet_service;',
    passed4: 'set passed4 { type ipv4_addr . inet_proto . inet_service;',
    passed6: 'set passed6 { type ipv6_addr . inet_proto . inet_service;',
    vips4: 'set vips4 { type ipv4_addr;',
    vips6: 'set vips6 { type ipv6_addr;',
  },
  textOf: (set, element) => {
    if (!/^(listeners|ranges)/.test(set)) return concatText(element);
    const [key, value] = element as readonly [unknown, unknown];
    return `${concatText(key)} : ${scalarText(value)}`;
  },
};

/*
 * The path of a packet (README.md), with the reasons:
 *
 *   prerouting, mangle ─► opens a connection to a restricted listener from other sources? ─► count, drop
 *                      ─► opens one to a listener that drains, or has no server? ─► reset
 *                      ─► to a listener: goes to HAProxy's socket (tproxy) ─► deliver
 *                      ─► opens anything else on an added address? ─► refuse (except ICMP)
 *
 * - The priority carries the number of the listener's source ranges to their lookup; it is reset.
 * - HAProxy would accept a connection before it looks for a server; a client that is refused tries another address at once.
 * - Source ranges and rejection apply only to a SYN: a later packet belongs to an accepted connection, or to none. So
 *   replies to this host's own connections, to a local port that is also a listener's or over lo from an added address,
 *   are never dropped.
 * - Without a socket (HAProxy is dead) tproxy ends its rule, and the packet is rejected by a later one.
 * - Packets of this host to its own address also pass here, through lo; no output chain is needed.
 * - The mark and its routing rule are for an address that is routed here but is not, or not yet, on this host. A packet
 *   to a local address must be delivered without it: with net.ipv4.conf.*.src_valid_mark=1 (wg-quick sets it) the
 *   kernel looks up the source of a marked packet in furiwake's routing table, where every client is a martian
 *   (measured).
 * - Mangle (-150) is after conntrack (-200), before destination NAT (-100), and `accept` ends only this chain: if
 *   another program rewrites the same port on all local addresses (Docker's `-p 80:80`, NodePorts), a listener with
 *   that port does not work (measured). `notrack` would prevent it and save 10 %, but hosts whose firewall accepts only
 *   `ct state new` would then drop every client. Input chains of firewalld, ufw and iptables run later and see the
 *   client's destination address and port; stateful ones work.
 * - A listener of `nat` is handled by another table, after this one. When HAProxy gets it, the connections of `nat` stay there,
 *   recognised by the mark of conntrack. Like the rule below, this one enables conntrack, so it exists only then.
 * - A host that masquerades connections of other machines (a router in front of the cluster) gets their replies at its
 *   own address, at a port that may be a listener's. Conntrack translates them only later, so its state exempts them
 *   here. This rule exists only with a listener on an own address: it enables conntrack for the whole host, which costs
 *   hosts without it about 10 %, and no connection is masqueraded to an added address.
 * - br_netfilter passes an IP packet that comes in by a port of a bridge through these hooks in the bridge, then lets it
 *   go up. IP drops the socket that tproxy found, and skips the hooks: ip_sabotage_in, the hook of br_netfilter at the
 *   lowest priority, sees to that. Of one priority the kernel calls the latest hook first, so `again` at that priority is
 *   called before it, if the table is newer than br_netfilter and the first bridge (steering.ts), and finds the socket
 *   once more. It is called in the bridge, too, where it does no harm: a packet that `classify` drops or refuses there never
 *   comes up. It is before the defragmentation of packets that no bridge has passed on, so it lets fragments alone. A reply to
 *   a masqueraded connection must not have a socket; what has no state of conntrack has not been in the bridge.
 * - nft 1.0.6 lists the tproxy rules without their map. The kernel has it, but a listing that is loaded again does not.
 */
/**
 * `hasOwnAddresses`: a listener is on an own address of the host. `isBridgeFiltered`: see `makeBridgeFilter`. `hasFormerNat`: HAProxy
 * has a listener that `nat` had (`former-nat.ts`).
 */
export const steeringRules = ({
  hasOwnAddresses,
  isBridgeFiltered,
  hasFormerNat,
}: {
  readonly hasOwnAddresses: boolean;
  readonly isBridgeFiltered: boolean;
  readonly hasFormerNat: boolean;
}): string => `
	chain exclude {
		ip daddr . tcp dport @refused4 drop
		ip6 daddr . tcp dport @refused6 drop
		drop
	}

	chain admit {
		meta priority . ip saddr != @sources4 goto exclude
		meta priority . ip6 saddr != @sources6 goto exclude
		meta priority set 0
	}

	chain restrict {
		meta priority set ip daddr . tcp dport map @ranges4 jump admit
		meta priority set ip6 daddr . tcp dport map @ranges6 jump admit
		ip daddr . tcp dport @closed4 reject with tcp reset
		ip6 daddr . tcp dport @closed6 reject with tcp reset
	}

	chain deliver {
		fib daddr type local accept
		meta mark set meta mark or ${hex(markBit)} accept
	}

	chain refuse {
		ip daddr . meta l4proto . th dport @passed4 accept
		ip6 daddr . meta l4proto . th dport @passed6 accept
		ip daddr @vips4 meta l4proto tcp reject with tcp reset
		ip6 daddr @vips6 meta l4proto tcp reject with tcp reset
		ip daddr @vips4 reject with icmp port-unreachable
		ip6 daddr @vips6 reject with icmpv6 port-unreachable
	}

	chain classify {
		type filter hook prerouting priority mangle; policy accept;
		tcp flags & (fin | syn | rst | ack) == syn jump restrict${hasOwnAddresses ? spareReplies : ''}${hasFormerNat ? spareNat : ''}
		meta l4proto tcp tproxy ip to 127.0.0.1:ip daddr . tcp dport map @listeners4 goto deliver
		meta l4proto tcp tproxy ip6 to [::1]:ip6 daddr . tcp dport map @listeners6 goto deliver
		tcp flags & (fin | syn | rst | ack) == syn goto refuse
		meta l4proto != { tcp, icmp, ipv6-icmp } goto refuse
	}
${isBridgeFiltered ? secondTime(hasOwnAddresses, hasFormerNat) : ''}`;

/** The chains for packets that have passed a bridge, up to devices above it. */
const secondTime = (hasOwnAddresses: boolean, hasFormerNat: boolean): string => `
	chain bridged {
		ip frag-off & 0x3fff != 0 accept
		exthdr frag exists accept${hasFormerNat ? spareNat : ''}
		meta l4proto tcp tproxy ip to 127.0.0.1:ip daddr . tcp dport map @listeners4 goto deliver
		meta l4proto tcp tproxy ip6 to [::1]:ip6 daddr . tcp dport map @listeners6 goto deliver
	}

	chain again {
		type filter hook prerouting priority -2147483648; policy accept;
		meta iifkind { "bridge", "vlan", "macvlan" }${hasOwnAddresses ? ' ct direction original' : ''} jump bridged
	}
`;

/** Of a connection that `nat` has, to a listener that HAProxy has now. */
const spareNat = `\n\t\tct mark and ${hex(flowMark)} == ${hex(flowMark)} accept`;

const spareReplies = '\n\t\tct direction reply ct status snat accept';
