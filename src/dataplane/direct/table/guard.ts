import { formatRange, mergeRanges } from '../../../core/ip/range.ts';
import type { DeviceProgram } from './program-source.ts';

/** Longer than a large table takes to be written on a busy machine. */
const guardSeconds = 10;
/** More of them would take as long to write as the table. */
const mostRanges = 256;

/**
 * Drops the packets to addresses of `direct` while a table that another program has deleted is written again: they would go up the
 * stack, which resets their connections. The kernel ends it by itself. Not those to the host's own addresses, which have other users.
 * `undefined`: there is nothing to guard, or too much.
 */
export function guardChains({ listeners, devices }: Pick<DeviceProgram, 'listeners' | 'devices'>): string | undefined {
  const addresses = new Map(
    Array.from(listeners.values())
      .filter(({ isHostAddress }) => !isHostAddress)
      .map(({ address }) => [address.text, address]),
  );
  const ranges = mergeRanges(
    Array.from(addresses.values(), ({ family, value }) => ({ family, first: value, last: value })),
  );
  if (devices.length === 0 || ranges.length === 0 || ranges.length > mostRanges) return undefined;
  const elements = (family: 4 | 6): string => {
    const texts = ranges.filter((range) => range.family === family).map(formatRange);
    return texts.length === 0 ? '' : `elements = { ${texts.join(', ')} }; `;
  };
  const names = devices.map((device) => `"${device}"`).join(', ');
  return `
	set guarded4 { type ipv4_addr; flags interval,timeout; timeout ${guardSeconds}s; ${elements(4)}}
	set guarded6 { type ipv6_addr; flags interval,timeout; timeout ${guardSeconds}s; ${elements(6)}}
	chain guard {
		type filter hook ingress devices = { ${names} } priority 0; policy accept;
		meta l4proto { tcp, udp, sctp } ip daddr @guarded4 drop
		meta l4proto { tcp, udp, sctp } ip6 daddr @guarded6 drop
	}
`;
}
