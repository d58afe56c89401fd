import { clientChains } from './client-chains.ts';
import { carriedAddress, flowRange, seed } from './packet-fields.ts';
import { ruleParts } from './rule-parts.ts';

/** The chains of listeners with affinity: a client is pinned to its node, and its connections as well, see `ruleset.ts`. */
export function affineChains(name: 4 | 6, idleSeconds: number): string {
  const { hops, flow, client, isSyn, listener, carriedFlow, toNodeOfClient, toKeeper, checkSource } = ruleParts(name);
  return `
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
		meta l4proto != tcp meta priority @flows continue${toNodeOfClient} settle${name}
		drop
	}

	chain affineerror${name} {
		meta mark set ${carriedFlow}
		meta mark set meta priority . meta mark map @pins jump send${name}
		meta mark set jhash ${carriedAddress[name]} mod ${flowRange} seed ${seed}
		meta mark set meta priority . meta mark map @clients jump send${name}
		drop
	}
`;
}
