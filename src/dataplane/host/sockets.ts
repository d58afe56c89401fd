import { bitsOf, type Family, type Ip, ipOf, parseDecimal, parseIp } from '../../core/ip/ip.ts';
import type { ListeningSocket } from '../../core/model/host.ts';
import type { Listener } from '../../core/traffic/table.ts';

/**
 * Reads the answer of `ss -H -l -t -n` (it has no JSON), a line per socket:
 *
 *   LISTEN 0 4096 192.0.2.11%eth0:8080 0.0.0.0:*
 *
 * The wildcard is `0.0.0.0`, `[::]`, or `*` for both families; that one becomes two sockets.
 */
export function decodeListening(text: string): readonly ListeningSocket[] {
  return text.split('\n').flatMap((line) => {
    const local = line.split(/\s+/)[3] ?? '';
    const colon = local.lastIndexOf(':');
    const port = parseDecimal(local.slice(colon + 1), 5);
    if (colon < 0 || port === undefined) return [];
    const host = local
      .slice(0, colon)
      .replace(/%[^\]]*/, '')
      .replace(/^\[(.*)\]$/, '$1');
    if (host === '*') return ([4, 6] as const).map((family) => ({ address: undefined, family, port }));
    const address = parseIp(host);
    if (address === undefined) return [];
    return [unmapped(address, port)];
  });
}

/** An IPv4 address that an IPv6 socket listens on (`::ffff:192.0.2.11`) is an IPv4 one; all zeros is the wildcard. */
function unmapped(address: Ip, port: number): ListeningSocket {
  const isMapped = address.family === 6 && address.value >> BigInt(bitsOf(4)) === 0xffffn;
  const plain = isMapped ? ipOf(4, address.value & 0xffff_ffffn) : address;
  return { address: plain.value === 0n ? undefined : plain, family: plain.family, port };
}

/** What `ss` must match to find the connections of `listeners`, all of one family; addresses and ports only. */
export function connectionFilter(listeners: readonly Listener[]): readonly string[] {
  return listeners.flatMap(({ address, port }, index) => {
    const host = address.family === 6 ? `[${address.text}]` : address.text;
    return [...(index === 0 ? [] : ['or']), '(', 'src', '=', host, 'and', 'sport', '=', `:${port}`, ')'];
  });
}

export function ofFamily(listeners: readonly Listener[], family: Family): readonly Listener[] {
  return listeners.filter(({ address }) => address.family === family);
}
