import { families } from '../../core/ip/ip.ts';
import { mostHostPods } from '../../core/traffic/host-pods.ts';
import { flowMark } from '../nftables/flow-mark.ts';
import { hex } from '../nftables/table-text.ts';
import { natSeed } from './choice-chains.ts';

/** The chain that chooses one of so many Pods. */
export function podsChain(family: 4 | 6, count: number): string {
  return `pods${family}of${count}`;
}

const toListener = families
  .map((family) => `\n\t\t${family === 4 ? 'ip' : 'ip6'} daddr . meta l4proto . th dport vmap @hosted${family}`)
  .join('');

/**
 * The chains for connections of the host itself to listeners that only `direct` serves: that takes packets of LANs, and these pass none.
 * A hash has a constant range, so there is a chain for each number of Pods. nft 1.0.6 has no registers for more than a port of the flow in
 * the hash, beside the key. A transaction may come between the two lookups for one packet, so both are made once more.
 */
export const hostChains: string = [
  `\n\tchain own {${toListener}${toListener}\n\t}\n`,
  ...families.flatMap((family) => {
    const ip = family === 4 ? 'ip' : 'ip6';
    const listener = `${ip} daddr . meta l4proto . th dport`;
    return Array.from({ length: mostHostPods }, (_, index) => {
      const pod = `${listener} . jhash th sport mod ${index + 1} seed ${natSeed} map @pods${family}`;
      const translate = `meta l4proto { tcp, udp, sctp } dnat ${ip} to ${pod} : ${listener} map @ports${family}`;
      const mark = `ct mark set ct mark or ${hex(flowMark)}`;
      return `\n\tchain ${podsChain(family, index + 1)} {\n\t\t${mark}\n\t\t${translate}\n\t}\n`;
    });
  }),
].join('');
