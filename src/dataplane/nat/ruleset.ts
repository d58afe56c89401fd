import { families } from '../../core/ip/ip.ts';
import { affinityTimeout, affinityTimeouts } from '../nftables/affinity-timeouts.ts';
import { flowMark } from '../nftables/flow-mark.ts';
import { classText } from '../nftables/element.ts';
import { concatText, verdictText, scalarText } from '../nftables/listing.ts';
import { hex, type TableSpec } from '../nftables/table-text.ts';
import { choiceChains, clientKey } from './choice-chains.ts';
import { hostChains } from './host-chains.ts';

/** The most clients of each family that are kept at their nodes. */
export const mostClients = 262_144;

/** The chain that keeps the client of a packet for so long. */
export function keepChain(family: 4 | 6, seconds: number): string {
  return `keep${family}for${affinityTimeout(seconds)}`;
}

/**
 * The table that sends flows to nodes by network address translation. A slot's second key is typed by an expression, because
 * nft has no type for 32 bits that it accepts for a hash; `typeof jhash …` crashes nft 1.0.6 when it lists the table.
 */
export const natTable: TableSpec = {
  name: 'inet furiwake-nat',
  learns: 'the nodes of clients with affinity',
  family: 1, // NFPROTO_INET
  mostRangesRemoved: 20, // as in the table in front of HAProxy
  former: {
    restricted4: 'set restricted4 { type ipv4_addr . inet_proto . inet_service;',
    restricted6: 'set restricted6 { type ipv6_addr . inet_proto . inet_service;',
    allowed4: 'set allowed4 { type ipv4_addr . inet_proto . inet_service . ipv4_addr; flags interval;',
    allowed6: 'set allowed6 { type ipv6_addr . inet_proto . inet_service . ipv6_addr; flags interval;',
  },
  sets: {
    listeners4: 'map listeners4 { type ipv4_addr . inet_proto . inet_service : classid;',
    listeners6: 'map listeners6 { type ipv6_addr . inet_proto . inet_service : classid;',
    ports4: 'map ports4 { type ipv4_addr . inet_proto . inet_service : inet_service;',
    ports6: 'map ports6 { type ipv6_addr . inet_proto . inet_service : inet_service;',
    opened4: 'set opened4 { type ipv4_addr . inet_proto . inet_service; counter;',
    opened6: 'set opened6 { type ipv6_addr . inet_proto . inet_service; counter;',
    requests4: 'set requests4 { type ipv4_addr . inet_proto . inet_service . inet_service; counter;',
    requests6: 'set requests6 { type ipv6_addr . inet_proto . inet_service . inet_service; counter;',
    answers4: 'set answers4 { type ipv4_addr . inet_proto . inet_service . inet_service; counter;',
    answers6: 'set answers6 { type ipv6_addr . inet_proto . inet_service . inet_service; counter;',
    ranges4: 'map ranges4 { type ipv4_addr . inet_proto . inet_service : classid;',
    ranges6: 'map ranges6 { type ipv6_addr . inet_proto . inet_service : classid;',
    refused4: 'set refused4 { type ipv4_addr . inet_proto . inet_service; counter;',
    refused6: 'set refused6 { type ipv6_addr . inet_proto . inet_service; counter;',
    sources4: 'set sources4 { type classid . ipv4_addr; flags interval;',
    sources6: 'set sources6 { type classid . ipv6_addr; flags interval;',
    affine4: 'set affine4 { type ipv4_addr . inet_proto . inet_service;',
    affine6: 'set affine6 { type ipv6_addr . inet_proto . inet_service;',
    timeouts4: 'map timeouts4 { type ipv4_addr . inet_proto . inet_service : verdict;',
    timeouts6: 'map timeouts6 { type ipv6_addr . inet_proto . inet_service : verdict;',
    pairs4: 'map pairs4 { type ipv4_addr . inet_proto . inet_service . ipv4_addr : classid;',
    pairs6: 'map pairs6 { type ipv6_addr . inet_proto . inet_service . ipv6_addr : classid;',
    keepers4: 'map keepers4 { type classid : ipv4_addr;',
    keepers6: 'map keepers6 { type classid : ipv6_addr;',
    groups: 'map groups { type classid : classid;',
    slots4: 'map slots4 { typeof meta priority . meta length : ip daddr;',
    slots6: 'map slots6 { typeof meta priority . meta length : ip6 daddr;',
    hosted4: 'map hosted4 { type ipv4_addr . inet_proto . inet_service : verdict;',
    hosted6: 'map hosted6 { type ipv6_addr . inet_proto . inet_service : verdict;',
    pods4: 'map pods4 { typeof ip daddr . meta l4proto . th dport . meta length : ip daddr;',
    pods6: 'map pods6 { typeof ip6 daddr . meta l4proto . th dport . meta length : ip6 daddr;',
    guarded4: 'set guarded4 { type ifname;',
    guarded6: 'set guarded6 { type nf_proto;',
  },
  textOf: (set, element) => {
    if (set === 'guarded4') return JSON.stringify(element);
    if (!Array.isArray(element)) return concatText(element);
    const [key, value] = element as readonly unknown[];
    if (set.startsWith('timeouts') || set.startsWith('hosted')) return `${concatText(key)} : ${verdictText(value)}`;
    // nft lists 0:0, which a listener that drains has in place of a backend, as a word.
    return `${concatText(key)} : ${value === 'none' ? classText(0) : scalarText(value)}`;
  },
};

function clients(family: 4 | 6): string {
  const ends = family === 4 ? 'ip saddr . ip daddr' : 'meta length . meta length';
  const limits = `flags dynamic,timeout; size ${mostClients};`;
  return `\n\tmap clients${family} { typeof meta l4proto . th dport . ${ends} : meta priority; ${limits} }`;
}

/** The same for each family and protocol: nft knows the type of a port in conntrack only beside one protocol. */
function forEach(ruleOf: (family: 4 | 6, protocol: string, listener: string) => string): string {
  const rules = families.flatMap((family) => {
    const listener = `ct original ${family === 4 ? 'ip' : 'ip6'} daddr . meta l4proto . ct original proto-dst`;
    return ['tcp', 'udp', 'sctp'].map((protocol) => `meta l4proto ${protocol} ${ruleOf(family, protocol, listener)}`);
  });
  return rules.join('\n\t\t');
}

function pass(set: 'requests' | 'answers', port: 'dport' | 'sport'): string {
  return forEach((family, protocol, listener) => `${listener} . ${protocol} ${port} @${set}${family} accept`);
}

const count = forEach((family, _, listener) => `${listener} @opened${family} continue`);

const pin = forEach((family, _, listener) => {
  const ip = family === 4 ? 'ip' : 'ip6';
  return `meta priority set ${listener} . ${ip} daddr map @pairs${family} ${listener} vmap @timeouts${family}`;
});

/** The chains that keep clients. */
const keep = families
  .flatMap((family) => {
    const client = clientKey(family, 'ct original proto-dst', `ct original ${family === 4 ? 'ip' : 'ip6'} daddr`);
    return affinityTimeouts.map((seconds) => {
      const update = `update @clients${family} { ${client} timeout ${seconds}s : meta priority }`;
      const rules = ['tcp', 'udp', 'sctp'].map((protocol) => `\n\t\tmeta l4proto ${protocol} ${update}`);
      return `\n\tchain ${keepChain(family, seconds)} {${rules.join('')}\n\t}\n`;
    });
  })
  .join('');

const isOurs = `ct mark and ${hex(flowMark)} == ${hex(flowMark)}`;

/*
 * The path of a packet:
 *
 *   prerouting, output ─► to a restricted listener, from other sources? ─► drop
 *                      ─► opens a flow to a listener? ─► (affinity) the node that keeps the client ─► DNAT to node:nodePort
 *                                                      ─► its backend ─► group of nodes, slot of the flow ─► DNAT to node:nodePort
 *                                                                      └─ no node, asked twice ─► refuse
 *   output             ─► to a listener that only direct serves? ─► DNAT to one of its Pods (`host-chains.ts`)
 *   forward, output    ─► of a flow of ours? ─► to or from the nodePort of a listener? ─► count, accept, else drop
 *   forward            ─► of another flow? ─► drop where furiwake switched forwarding on
 *   postrouting        ─► of a flow of ours? ─► count the flow, keep the client (affinity), masquerade: the node answers this host
 *
 * - The kernel asks chains of type nat only about the first packet of a flow, and translates the others as that one. A flow
 *   keeps its node while slots change: that is draining.
 * - The masqueraded flow keeps the port of the client while that is free. On a random port the node may still have a connection of another
 *   client in TIME_WAIT, with a later timestamp: then it drops the SYN (RFC 7323, 5.3).
 * - A flow without a listener, or at its former nodePort, is dropped until conntrack has forgotten it: the kernel would translate
 *   it as long as the client sends. ICMP errors, and connections that a helper of conntrack expects, have the mark of their flow.
 * - The elements of `opened`, `requests`, `answers` and `refused` count: a lookup that finds one adds the packet to it.
 * - A transaction may come between two lookups for one packet: the group of its listener is of before it, the slots are of after it. So
 *   a flow that gets no node is looked up once more (`again`) before it is refused.
 * - With affinity a client is kept at its node for the timeout of the Service after its last flow began. `clients` has
 *   the number that a node has for this holder of the listener, so that the next one inherits nothing, and `keepers`
 *   the nodes that may keep clients. The hash leaves the ports out. A client for which `clients` has no room gets the
 *   node of the hash. `update` leaves the value of an element as it is, so a number without a keeper is deleted first.
 * - The priority carries the number of the source ranges, then of the backend, then of its group, from rule to rule, as in table
 *   `netdev furiwake`; it is reset before the packet leaves. No packet is marked.
 * - Packets to a listener pass the table in front of HAProxy (`inet furiwake`), which knows them as `passed`.
 * - A connection that the table in front of HAProxy has given to it is HAProxy's: while a listener moves between the two, both have it.
 *   Translated, the connection would seem to be one to the node.
 * - The chains are called before those of other programs (-100): a rule of Docker or kube-proxy for the same port of all local
 *   addresses does not get there first. nft 1.0.6 knows no name for the priority in output.
 * - Every packet is checked against the source ranges, not only the first one. Answers of a node to this host's own address are
 *   not: they may arrive at the port of a listener.
 */
const rulesOf = (hasHosted: boolean): string => `
${clients(4)}${clients(6)}
	chain exclude {
		ip daddr . meta l4proto . th dport @refused4 drop
		ip6 daddr . meta l4proto . th dport @refused6 drop
		drop
	}

	chain admit {
		meta priority . ip saddr != @sources4 goto exclude
		meta priority . ip6 saddr != @sources6 goto exclude
		meta priority set 0
	}

	chain restrict {
		ct direction reply return
		meta priority set ip daddr . meta l4proto . th dport map @ranges4 jump admit
		meta priority set ip6 daddr . meta l4proto . th dport map @ranges6 jump admit
	}

	chain restrict_arriving {
		type filter hook prerouting priority mangle - 1; policy accept;
		meta l4proto { tcp, udp, sctp } jump restrict
	}

	chain restrict_local {
		type filter hook output priority mangle - 1; policy accept;
		meta l4proto { tcp, udp, sctp } jump restrict
	}

	chain arrive {
		type nat hook prerouting priority -110; policy accept;
		meta l4proto tcp socket transparent 1 accept
		meta l4proto { tcp, udp, sctp } goto choose
	}

	chain depart {
		type nat hook output priority -110; policy accept;${hasHosted ? '\n\t\tmeta l4proto { tcp, udp, sctp } jump own' : ''}
		meta l4proto { tcp, udp, sctp } goto choose
	}

	chain choose {
		meta priority set ip daddr . meta l4proto . th dport map @listeners4 goto serve4
		meta priority set ip6 daddr . meta l4proto . th dport map @listeners6 goto serve6
	}
${choiceChains(4)}${choiceChains(6)}${hasHosted ? hostChains : ''}
	chain refuse {
		meta l4proto tcp reject with tcp reset
		reject with icmpx port-unreachable
	}

	chain ours {
		ct direction reply goto answer
		${pass('requests', 'dport')}
		goto relate
	}

	chain answer {
		${pass('answers', 'sport')}
		goto relate
	}

	chain relate {
		ct state related accept
		ct status expected accept
		drop
	}

	chain depart_ours {
		type filter hook output priority filter - 10; policy accept;
		${isOurs} goto ours
	}

	chain guard {
		type filter hook forward priority filter - 10; policy accept;
		${isOurs} goto ours
		meta nfproto ipv4 iifname @guarded4 drop
		meta nfproto @guarded6 drop
	}

	chain hide {
		type nat hook postrouting priority srcnat - 10; policy accept;
		${isOurs} ct status dnat goto leave
	}
${keep}
	chain leave {
		${count}
		${pin}
		meta priority set 0 masquerade
	}
`;

export const natRules: string = rulesOf(false);

/** The same, and for connections of the host itself to listeners that only `direct` serves. */
export const natRulesWithHost: string = rulesOf(true);
