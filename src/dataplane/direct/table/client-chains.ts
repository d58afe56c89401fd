import { affinityTimeout, affinityTimeouts } from '../../nftables/affinity-timeouts.ts';

/** A flow of UDP or SCTP without affinity is pinned for so long; with affinity it is at the node of its client. */
const flowSeconds = 180;

/** The chain that keeps the client of a packet for so long. */
export function clientChain(family: 4 | 6, seconds: number): string {
  return `client${family}for${affinityTimeout(seconds)}`;
}

/** These chains. `client`: the hash of a client. */
export function clientChains(family: 4 | 6, client: string): string {
  const update = (l4: string, seconds: number): string =>
    `\n\t\t${l4}update @clients { meta priority . ${client} timeout ${seconds}s : meta mark } goto send${family}`;
  const chains = affinityTimeouts.map((seconds) => {
    const updates =
      seconds < flowSeconds
        ? update('meta l4proto tcp ', seconds) + update('meta l4proto != tcp ', flowSeconds)
        : update('', seconds);
    return `\n\tchain ${clientChain(family, seconds)} {${updates}\n\t\tgoto overflow${family}\n\t}\n`;
  });
  return chains.join('');
}
