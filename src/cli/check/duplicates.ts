import { makeDuplicateProbe } from '../../advertise/duplicates.ts';
import { ipOf } from '../../core/ip/ip.ts';
import type { IpRange } from '../../core/ip/range.ts';
import type { Platform } from '../../daemon/platform.ts';
import type { Network } from '../../host/network.ts';
import { counted, type Finding, named, ok, warning } from './finding.ts';

/** Of a larger pool the first ones are asked for: those that Services get first. */
const mostProbed = 1024n;

/** Whether another machine on a LAN of this host has an address of the pool. */
export async function checkDuplicates(
  ranges: readonly IpRange[],
  network: Pick<Network, 'addresses' | 'links'>,
  { exec, clock }: Pick<Platform, 'exec' | 'clock'>,
  signal: AbortSignal,
): Promise<Finding> {
  const { links } = network;
  const { own, needs } = network.addresses();
  const foreign = [...firstOf(ranges)].filter(({ text }) => !own.has(text) && !needs.has(text));
  const probed = foreign.filter((address) => links.linkOf(address) !== undefined);
  if (foreign.length === 0) return ok('not asked: all addresses are on this host');
  if (probed.length === 0)
    return ok('not asked: the pool is in no network of this host, so a router must route it to this host');
  const found = await makeDuplicateProbe({ exec, clock, links })(probed, signal);
  if (found.size === 0) return ok(`none on the LAN has one of ${counted(probed.length, 'address', 'addresses')}`);
  return warning(
    `addresses in use on the LAN: ${named(Array.from(found, ([text, mac]) => `${text} (${mac})`))}`,
    'fine if another furiwake serves them; else remove them there, or take them out of the pool',
  );
}

function* firstOf(ranges: readonly IpRange[]): Generator<ReturnType<typeof ipOf>> {
  let left = mostProbed;
  for (const { family, first, last } of ranges)
    for (let value = first; value <= last && left > 0n; value++, left--) yield ipOf(family, value);
}
