/** Part of the hashes, the same on all hosts: with another seed a host that takes over would move every flow. */
export const seed = '0x66757269';
/** The range of the hash that identifies a flow in `pins`: the most that nft 1.0.6 accepts. */
export const flowRange: number = 2 ** 31 - 1;

/** The first of several fragments: it has the ports. */
export const isFirstFragment = { 4: 'ip frag-off & 0x3fff == 0x2000', 6: 'frag frag-off 0' } as const;
export const isLaterFragment = { 4: 'ip frag-off & 0x1fff != 0', 6: 'frag frag-off != 0' } as const;
/** What the fragments of a datagram have in common. */
export const datagram: { readonly [F in 4 | 6]: string } = {
  4: `jhash ip saddr . ip daddr . ip id mod ${flowRange} seed ${seed}`,
  6: `jhash ip6 saddr . ip6 daddr . frag id mod ${flowRange} seed ${seed}`,
};

/**
 * The client's address and port in the packet that an ICMP error carries: it was sent by a node, from the VIP to the client.
 * Bits from the ICMP header on, which has 64; then comes the IP header (RFC 791, 20 bytes without options; RFC 8200, 40).
 */
export const carriedAddress = { 4: '@th,192,32', 6: '@th,256,128' } as const;
export const carriedPorts = {
  4: '@th,240,16 . @th,224,16 . @th,136,8',
  6: '@th,400,16 . @th,384,16 . @th,112,8',
} as const;
