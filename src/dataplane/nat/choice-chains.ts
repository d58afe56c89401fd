import { flowMark } from '../nftables/flow-mark.ts';
import { hex } from '../nftables/table-text.ts';

/** The number of slots of a group: the range of the hash that chooses one. */
export const natSlotCount = 1021;

/** Part of the hash, the same on all hosts. */
export const natSeed = '0x66757269';

/** A client and its listener in a key: nft 1.0.6 writes wrong ones of more than 16 bytes in `update`. */
export function clientKey(family: 4 | 6, port: string, address: string): string {
  const hashed = (part: string): string => `jhash ${part} mod ${2 ** 31 - 1} seed ${natSeed}`;
  const ends = family === 4 ? `ip saddr . ${address}` : `${hashed('ip6 saddr')} . ${hashed(address)}`;
  return `meta l4proto . ${port} . ${ends}`;
}

/** The chains that choose the node of a flow to a listener of this family, see `ruleset.ts`. */
export function choiceChains(family: 4 | 6): string {
  const ip = family === 4 ? 'ip' : 'ip6';
  const listener = `${ip} daddr . meta l4proto . th dport`;
  const toSlot = (hashed: string): string =>
    translate(`meta priority . jhash ${hashed} mod ${natSlotCount} seed ${natSeed} map @slots${family}`);
  const translate = (node: string): string =>
    `meta l4proto { tcp, udp, sctp } dnat ${ip} to ${node} : ${listener} map @ports${family}`;
  const ofFlow = toSlot(`${ip} saddr . ${ip} daddr . th sport . th dport`);
  const ofClient = toSlot(`${ip} saddr . ${ip} daddr`);
  const client = clientKey(family, 'th dport', `${ip} daddr`);
  return `
	chain serve${family} {
		ct mark set ct mark or ${hex(flowMark)}
		${listener} @affine${family} goto affine${family}
		meta priority set meta priority map @groups goto send${family}
		goto again${family}
	}

	chain send${family} {
		${ofFlow}
		goto again${family}
	}

	chain affine${family} {
		meta priority set ${client} map @clients${family} jump keep${family}
		delete @clients${family} { ${client} : meta priority }
		meta priority set ${listener} map @listeners${family}
		meta priority set meta priority map @groups goto settle${family}
		goto again${family}
	}

	chain keep${family} {
		${translate(`meta priority map @keepers${family}`)}
	}

	chain settle${family} {
		${ofClient}
		goto again${family}
	}

	chain again${family} {
		meta priority set ${listener} map @listeners${family}
		meta priority set meta priority map @groups goto settled${family}
		goto refuse
	}

	chain settled${family} {
		${listener} @affine${family} goto resettle${family}
		${ofFlow}
		goto refuse
	}

	chain resettle${family} {
		${ofClient}
		goto refuse
	}
`;
}
