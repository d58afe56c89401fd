import { bitsOf, families, type Ip, ipOf, parseDecimal, parseIp } from '../core/ip/ip.ts';
import type { ListeningSocket } from '../core/model/host.ts';
import type { ListenerAddress } from '../core/traffic/table.ts';

/**
 * Reads the answer of `ss -H -l -n -t`, or with `-u` for UDP (it has no JSON), a line per socket:
 *
 *   LISTEN 0 4096 192.0.2.11%eth0:8080 0.0.0.0:*
 *   UNCONN 0 0    192.0.2.11%eth0:68   0.0.0.0:*
 *
 * The wildcard is `0.0.0.0`, `[::]`, or `*` for both families; that one becomes two sockets.
 */
export function decodeListening(text: string, protocol: ListeningSocket['protocol']): readonly ListeningSocket[] {
  return text.split('\n').flatMap((line) => {
    const end = decodeEnd(line.split(/\s+/)[3] ?? '');
    if (end === undefined) return [];
    const { host, port } = end;
    if (host === '*') return families.map((family) => ({ protocol, address: undefined, family, port }));
    const address = parseIp(host);
    return address === undefined ? [] : [{ protocol, ...unmapped(address), port }];
  });
}

/** One end of a connection. */
type End = { readonly address: Ip; readonly port: number };

/** A connection of this host. */
export type Connection = {
  readonly local: End;
  readonly peer: End;
  /** HAProxy accepted it from a client, or is about to. */
  readonly isTaken: boolean;
};

/**
 * Reads the answer of `ss -H -O -t -n --inet-sockopt` about connections, a line per socket:
 *
 *   ESTAB 0 0 192.0.2.11:40000 198.51.100.2:51234 inet-sockopt: ( is_icsk mc_loop transparent mc_all)
 *
 * A connection that a transparent listener accepted is transparent itself; one that this host opened is not.
 */
export function decodeConnections(text: string): readonly Connection[] {
  return text.split('\n').flatMap((line) => {
    const [state, , , local = '', peer = '', ...options] = line.split(/\s+/);
    const ends = [local, peer].flatMap((end): End[] => {
      const { host = '', port = 0 } = decodeEnd(end) ?? {};
      const address = parseIp(host);
      return address === undefined ? [] : [{ address, port }];
    });
    if (ends[0] === undefined || ends[1] === undefined) return [];
    // An unfinished handshake has no options yet: it belongs to a client.
    return [
      { local: ends[0], peer: ends[1], isTaken: state === 'SYN-RECV' || /\btransparent\b/.test(options.join(' ')) },
    ];
  });
}

/** `192.0.2.11%eth0:8080`, `[2001:db8::1]:443`, `*:22`. */
function decodeEnd(text: string): { readonly host: string; readonly port: number } | undefined {
  const colon = text.lastIndexOf(':');
  const port = parseDecimal(text.slice(colon + 1), 5);
  if (colon < 0 || port === undefined) return undefined;
  const host = text
    .slice(0, colon)
    .replace(/%[^\]]*/, '')
    .replace(/^\[(.*)\]$/, '$1');
  return { host, port };
}

/** An IPv4 address that an IPv6 socket listens on (`::ffff:192.0.2.11`) is an IPv4 one; all zeros is the wildcard. */
function unmapped(address: Ip): Pick<ListeningSocket, 'address' | 'family'> {
  const isMapped = address.family === 6 && address.value >> BigInt(bitsOf(4)) === 0xffffn;
  const plain = isMapped ? ipOf(4, address.value & 0xffff_ffffn) : address;
  return { address: plain.value === 0n ? undefined : plain, family: plain.family };
}

/**
 * The `ss` filter that matches the connections of `listeners`, all of one family, except `spared`; addresses and ports
 * only.
 */
export function connectionFilter(
  listeners: readonly ListenerAddress[],
  spared: readonly Connection[] = [],
): readonly string[] {
  const peers = Map.groupBy(spared, ({ local }) => endKey(local));
  return anyOf(
    listeners.map((listener) => {
      const others = (peers.get(endKey(listener)) ?? []).map(({ peer }) => endFilter('d', peer));
      const all = endFilter('s', listener);
      return others.length === 0 ? all : [...all, 'and', 'not', '(', ...anyOf(others), ')'];
    }),
  );
}

/** The `ss` filter that matches these connections, all of one family. */
export function endsFilter(connections: readonly Connection[]): readonly string[] {
  return anyOf(connections.map(({ local, peer }) => [...endFilter('s', local), 'and', ...endFilter('d', peer)]));
}

function anyOf(filters: readonly (readonly string[])[]): readonly string[] {
  return filters.flatMap((filter, index) => [...(index === 0 ? [] : ['or']), '(', ...filter, ')']);
}

function endFilter(side: 's' | 'd', { address, port }: End): readonly string[] {
  const host = address.family === 6 ? `[${address.text}]` : address.text;
  return side === 's'
    ? ['src', '=', host, 'and', 'sport', '=', `:${port}`]
    : ['dst', '=', host, 'and', 'dport', '=', `:${port}`];
}

function endKey({ address, port }: End): string {
  return `${address.text} ${port}`;
}
