import { makeDuplicateProbe } from '../../advertise/duplicates.ts';
import { ipOf } from '../../core/ip/ip.ts';
import type { IpRange } from '../../core/ip/range.ts';
import type { Platform } from '../../daemon/platform.ts';
import type { Placement } from '../../ports/host.ts';
import { type Finding, ok, warning } from './finding.ts';

/** Of a larger pool the first ones are asked for: those that Services get first. */
const mostProbed = 1024n;

/** Whether another machine on a LAN of this host has an address of the pool; nothing where the pool is on none of them. */
export async function checkDuplicates(
  ranges: readonly IpRange[],
  placement: Pick<Placement, 'addresses' | 'linkOf'>,
  { exec, clock }: Pick<Platform, 'exec' | 'clock'>,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const { own, needs } = placement.addresses();
  const findLink: Placement['linkOf'] = (address) => placement.linkOf(address);
  const probed = [...firstOf(ranges)].filter(
    (address) => findLink(address) !== undefined && !own.has(address.text) && !needs.has(address.text),
  );
  if (probed.length === 0) return [];
  const what = 'pool on the LAN';
  const found = await makeDuplicateProbe({ exec, clock, findLink })(probed, signal);
  if (found.size === 0) return [ok(what, `no other machine has one of ${probed.length} addresses`)];
  return [
    warning(
      what,
      `in use by other machines: ${Array.from(found, ([text, mac]) => `${text} (${mac})`).join(', ')}`,
      'fine if another furiwake serves them; else remove them there, or take them out of the pool',
    ),
  ];
}

function* firstOf(ranges: readonly IpRange[]): Generator<ReturnType<typeof ipOf>> {
  let left = mostProbed;
  for (const { family, first, last } of ranges)
    for (let value = first; value <= last && left > 0n; value++, left--) yield ipOf(family, value);
}
