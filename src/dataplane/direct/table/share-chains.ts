import { ruleParts } from './rule-parts.ts';

/** The chains of listeners in `mixed`, which nodes and a stand-in share, see `ruleset.ts`. */
export function shareChains(name: 4 | 6): string {
  const { ip, flow, client, isSyn, listener, carriedFlow, toNodeOfClient, toKeeper, checkSource, checkRanges } =
    ruleParts(name);
  return `
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
		${listener}${toNodeOfClient} pin${name}
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

	chain shareerror${name} {
		meta mark set ${carriedFlow}
		meta mark set meta priority . meta mark map @pins jump send${name}
		goto stack
	}
`;
}
