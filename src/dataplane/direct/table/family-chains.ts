import { affineChains } from './affine-chains.ts';
import { datagram, isFirstFragment } from './packet-fields.ts';
import { ruleParts } from './rule-parts.ts';
import { shareChains } from './share-chains.ts';
import { admitted, straightChains } from './straight-chains.ts';

/**
 * The chains of one family, see `ruleset.ts`. A TCP connection without a packet for `idleSeconds` loses its pin. `link`: the device of
 * the node in the mark.
 */
export function familyChains(name: 4 | 6, idleSeconds: number, link: string): string {
  const parts = ruleParts(name);
  const { ip, hops, flow, carriedFlow, listener, inSlot, toSlot, toNode, toNodeOfCarried } = parts;
  const { checkSource, checkRanges } = parts;
  return `
	chain send${name} {
		meta priority set 0
		${isFirstFragment[name]} update @fragments { ${datagram[name]} : meta mark }
		${hops} > 8 ${hops} set 8
		fwd ${ip} to meta mark map @gateways${name} device ${link}
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
		meta l4proto tcp update @pins { meta priority . ${flow} timeout ${idleSeconds}s : meta mark } goto send${name}
		meta l4proto != tcp update @pins { meta priority . ${flow} timeout 3m : meta mark }
		goto send${name}
	}

	chain pin${name} {
		${listener}
		meta l4proto tcp update @pins { meta priority . ${flow} timeout 1m : meta mark } goto send${name}
		meta l4proto != tcp update @pins { meta priority . ${flow} timeout 3m : meta mark } goto send${name}
		update @overflow { meta priority counter }
		goto send${name}
	}

	chain later${name} {${toNode} pin${name}
		drop
	}

	chain open${name} {
		${listener}
		delete @opening { meta priority . ${flow} : meta mark }
		update @opening { meta priority . ${flow} : meta mark } goto send${name}
		goto overflow${name}
	}

	chain opened${name} {${toNode} open${name}
		drop
	}

	chain renewed${name} {
		${listener}
		meta l4proto tcp update @newer { meta priority . ${flow} }${toNode} send${name}
		goto again${name}
	}

	chain first${name} {
		meta priority @flows continue${toSlot}
		${inSlot} @moved jump renewed${name}
		${inSlot} @slots jump send${name}
		goto again${name}
	}

	chain former${name} {
		${listener}
		meta mark set ${flow}
		meta priority . meta mark @newer goto later${name}${toSlot}
		${inSlot} @moved jump pin${name}
		${listener}
		goto later${name}
	}

	chain answered${name} {${toSlot}
		${inSlot} @moved goto former${name}
		${inSlot} @slots jump pin${name}
		drop
	}
${affineChains(name, idleSeconds)}
	chain fragment${name} {
		ether saddr @node_macs accept
		meta mark set ${datagram[name]}
		meta mark set meta mark map @fragments jump send${name}
		meta mark set 0
	}
${shareChains(name)}
	chain error${name} {
		ether saddr @node_macs drop
		meta priority @mixed goto shareerror${name}
		meta priority != @open drop
		meta priority @affine goto affineerror${name}
		meta mark set ${carriedFlow}
		meta mark set meta priority . meta mark map @pins goto send${name}
${toNodeOfCarried.slice(1)} send${name}
		drop
	}

	chain unpinnedtcp${name} {
		meta mark set meta priority . meta mark map @closing jump close${name}
		meta priority 0 ${listener}
		meta priority @handed goto handed${name}
		goto answered${name}
	}

	chain handed${name} {
		meta mark set ${flow}
		meta mark set meta priority . meta mark map @opening jump pin${name}
		goto stack
	}

	chain unpinned${name} {${checkSource}
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

	chain check${name} {
		meta priority @affine goto affine${name}
		meta mark set ${flow}
		meta mark set meta priority . meta mark map @pins meta priority . meta mark @keepers jump keep${name}
		${listener}
		delete @pins { meta priority . ${flow} : meta mark }
		meta mark set ${flow}
		goto unpinned${name}
	}
${straightChains(name)}
	chain shared${name} {
		meta priority @checked goto check${name}${admitted(name)}
	}

	chain listen${name} {
		meta priority vmap @straight
		meta priority @mixed jump share${name}
		ether saddr @node_macs drop
		${checkRanges}
		meta priority @open goto shared${name}
		goto again${name}
	}
`;
}
