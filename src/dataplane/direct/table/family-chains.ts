import { clientChains } from './client-chains.ts';
import { carriedAddress, carriedPorts, datagram, flowRange, isFirstFragment, seed } from './packet-fields.ts';

/** The number of slots of a group: the range of the hash that chooses one. */
export const slotCount = 1021;
/** The same of a small group, of which there may be one for each Service: its slots are 8 kB of the kernel's memory. */
export const smallSlotCount = 127;

/** The chains of one family, see `ruleset.ts`. A TCP connection without a packet for `idleSeconds` loses its pin. */
export function familyChains(name: 4 | 6, idleSeconds: number): string {
  const [ip, hops] = name === 4 ? ['ip', 'ip ttl'] : ['ip6', 'ip6 hoplimit'];
  const hash = `jhash ${ip} saddr . ${ip} daddr . th sport . th dport . meta l4proto`;
  const carriedHash = `jhash ${carriedAddress[name]} . ${ip} daddr . ${carriedPorts[name]}`;
  const flow = `${hash} mod ${flowRange} seed ${seed}`;
  const client = `jhash ${ip} saddr mod ${flowRange} seed ${seed}`;
  const clientHash = `jhash ${ip} saddr . ${ip} daddr`;
  const isSyn = 'tcp flags & (syn | ack) == syn';
  const listener = `meta priority set ${ip} daddr . meta l4proto . th dport map @listeners${name}`;
  const toSlotBy = (hashed: string): string => `
		meta mark set ${hashed} mod ${slotCount} seed ${seed}
		meta priority set meta priority map @groups
		meta priority @small meta mark set ${hashed} mod ${smallSlotCount} seed ${seed}`;
  const inSlot = 'meta mark set meta priority . meta mark map';
  const toNodeBy = (hashed: string): string => `${toSlotBy(hashed)}
		${inSlot} @slots jump`;
  const checkSource = `
		fib saddr type { local, broadcast, multicast } goto impossible
		${ip} saddr @impossible${name} goto impossible`;
  const checkRanges = `meta mark set meta priority map @ranges meta mark . ${ip} saddr != @sources${name} goto refuse`;
  const toKeeper = 'meta mark set meta priority . meta mark map @clients meta priority . meta mark @keepers';
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
		meta l4proto tcp update @pins { meta priority . ${flow} timeout ${idleSeconds}s : meta mark }
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

	chain later${name} {${toNodeBy(hash)} pin${name}
		drop
	}

	chain open${name} {
		${listener}
		delete @opening { meta priority . ${flow} : meta mark }
		update @opening { meta priority . ${flow} : meta mark } goto send${name}
		goto overflow${name}
	}

	chain opened${name} {${toNodeBy(hash)} open${name}
		drop
	}

	chain renewed${name} {
		${listener}
		meta l4proto tcp update @newer { meta priority . ${flow} }${toNodeBy(hash)} send${name}
		goto again${name}
	}

	chain first${name} {
		meta priority @flows continue${toSlotBy(hash)}
		${inSlot} @moved jump renewed${name}
		${inSlot} @slots jump send${name}
		goto again${name}
	}

	chain answered${name} {
		meta priority . meta mark @newer goto later${name}${toSlotBy(hash)}
		${inSlot} @moved jump pin${name}
		${listener}
		goto later${name}
	}

${clientChains(name, client)}
	chain stay${name} {
		${hops} < 8 goto send${name}
		${isSyn} meta priority @handed update @opening { meta priority . ${flow} : meta mark }
		tcp flags & (syn | fin | rst) == 0 update @pins { meta priority . ${flow} timeout ${idleSeconds}s : meta mark }
		tcp flags & (fin | rst) != 0 goto end${name}
		meta l4proto != tcp update @seen { meta priority . ${flow} }
		meta priority vmap @timeouts
		goto send${name}
	}

	chain follow${name} {
		meta mark set ${client}
		${toKeeper} jump stay${name}
		goto stack
	}

	chain settlesyn${name} {
		${listener}
		meta priority @handed update @opening { meta priority . ${flow} : meta mark }
		goto send${name}
	}

	chain settle${name} {
		${isSyn} goto settlesyn${name}
		${listener}
		delete @clients { meta priority . ${client} : meta mark }
		tcp flags & (syn | fin | rst) == 0 update @pins { meta priority . ${flow} timeout 1m : meta mark }
		meta l4proto != tcp update @seen { meta priority . ${flow} }
		meta l4proto tcp update @clients { meta priority . ${client} timeout 1m : meta mark } goto send${name}
		meta l4proto != tcp update @clients { meta priority . ${client} timeout 3m : meta mark } goto send${name}
		goto overflow${name}
	}

	chain affine${name} {${checkSource}
		${isSyn} meta priority @flows continue
		${isSyn} delete @pins { meta priority . ${flow} : meta mark }
		${isSyn} delete @closing { meta priority . ${flow} : meta mark }
		meta mark set ${flow}
		tcp flags & (syn | ack) != syn meta mark set meta priority . meta mark map @pins jump stay${name}
		tcp flags & (syn | ack) != syn meta mark set meta priority . meta mark map @closing jump close${name}
		tcp flags & (syn | ack) != syn meta priority @handed meta mark set meta priority . meta mark map @opening jump stay${name}
		tcp flags & (syn | ack) != syn meta priority @handed goto stack
		meta mark set ${client}
		${toKeeper} jump stay${name}
		${listener}
		meta l4proto != tcp meta priority @flows continue${toNodeBy(clientHash)} settle${name}
		drop
	}

	chain affineerror${name} {
		meta mark set ${carriedHash} mod ${flowRange} seed ${seed}
		meta mark set meta priority . meta mark map @pins jump send${name}
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
		meta priority @handed goto handed${name}
		goto answered${name}
	}

	chain handed${name} {
		meta mark set ${flow}
		meta mark set meta priority . meta mark map @opening jump pin${name}
		goto stack
	}

	chain unpinned${name} {
		${listener}${checkSource}
		meta mark set ${flow}
		meta l4proto tcp goto unpinnedtcp${name}
		meta priority . meta mark @seen goto later${name}
		update @seen { meta priority . meta mark } goto first${name}
		update @overflow { meta priority counter }
		goto first${name}
	}

	chain syn${name} {${checkSource}
		delete @pins { meta priority . meta mark : meta mark }
		delete @closing { meta priority . meta mark : meta mark }
		meta priority @handed goto opened${name}
		goto first${name}
	}

	chain sharesyn${name} {
		delete @pins { meta priority . ${flow} : meta mark }
		delete @closing { meta priority . ${flow} : meta mark }
		meta priority @parting update @seen { meta priority . ${flow} }
		meta priority @inherited update @seen { meta priority . ${flow} }
		meta priority != @open goto stack
		ether saddr @node_macs drop${checkSource}
		${checkRanges}
		meta priority @open meta priority @flows continue
		meta priority != @affine goto later${name}
		meta mark set ${client}
		${toKeeper} jump keep${name}
		${listener}${toNodeBy(clientHash)} pin${name}
		drop
	}

	chain sharekeep${name} {
		meta l4proto != tcp meta priority @checked meta priority . meta mark != @keepers goto stale${name}
		goto keep${name}
	}

	chain stale${name} {
		delete @pins { meta priority . ${flow} : meta mark }
		goto stack
	}

	chain part${name} {
		meta priority . meta mark @seen goto stack
		meta priority @affine goto affine${name}
		goto answered${name}
	}

	chain share${name} {
		meta priority @waiting meta priority != @open drop
		meta priority . ${ip} saddr . th sport @held${name} goto stack
		meta priority != @unsorted return
		${isSyn} goto sharesyn${name}
		ether saddr @node_macs goto stack
		${checkRanges}
		meta mark set ${flow}
		meta mark set meta priority . meta mark map @pins jump sharekeep${name}
		meta mark set meta priority . meta mark map @closing jump close${name}
		meta l4proto != tcp meta priority . meta mark @seen goto follow${name}
		meta l4proto tcp meta priority @parting goto part${name}
		meta l4proto tcp meta priority @inherited goto part${name}
		goto stack
	}

	chain again${name} {
		${listener} goto settled${name}
		goto stack
	}

	chain settled${name} {
		meta priority @mixed jump share${name}
		drop
	}

	chain check${name} {
		meta priority @affine goto affine${name}
		meta mark set ${flow}
		meta mark set meta priority . meta mark map @pins meta priority . meta mark @keepers jump keep${name}
		${listener}
		delete @pins { meta priority . ${flow} : meta mark }
		goto unpinned${name}
	}

	chain admit${name} {
		meta priority @checked goto check${name}
		meta mark set ${flow}
		${isSyn} goto syn${name}
		meta mark set meta priority . meta mark map @pins jump keep${name}
		goto unpinned${name}
	}

	chain listen${name} {
		meta priority @mixed jump share${name}
		ether saddr @node_macs drop
		${checkRanges}
		meta priority @open goto admit${name}
		goto again${name}
	}
`;
}
