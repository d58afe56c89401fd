import { parseIp } from '../../core/ip/ip.ts';
import { countAddresses, formatRange, type IpRange, rangeContains, rangeOf } from '../../core/ip/range.ts';
import { makeHost } from '../../host/host.ts';
import { makePlacement } from '../../host/placement.ts';
import type { Log } from '../../ports/log.ts';
import { makePlacementRecord } from '../../state/placement-record.ts';
import type { Holder } from '../../daemon/host-lock.ts';
import { earlierStatePaths, type Platform, statePaths } from '../../daemon/platform.ts';
import type { RunOptions } from '../options.ts';
import { checkDuplicates } from './duplicates.ts';
import { type Finding, ok, warning, wrong } from './finding.ts';

const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

/** Ports of this host that no Service can have, and whether a furiwake runs already. */
export async function checkPorts(
  options: RunOptions,
  { exec, files, clock }: Platform,
  holder: Holder | 'unknown' | undefined,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const record = makePlacementRecord({
    path: statePaths(options.stateDir).placement,
    earlierPath: earlierStatePaths(options.stateDir).addresses,
    files,
    log: silentLog,
  });
  const placement = makePlacement({ exec, files, record, clock, log: silentLog, lifetime: signal });
  const { own, primary, needs } = await placement.refresh(signal);
  const listening = await makeHost({ exec, log: silentLog }).listening(signal);
  const taken = new Set(
    listening.filter(({ address }) => address === undefined || own.has(address.text)).map(({ port }) => port),
  );
  for (const port of options.reservedPorts) taken.add(port);
  const ranges = options.addresses ?? primary.map(rangeOf);
  return [
    ok('own addresses', [...own.keys()].join(', ') || 'none'),
    checkPool(ranges, needs),
    ...(await checkDuplicates(ranges, placement, { exec, clock }, signal)),
    ok(
      'reserved ports',
      `${[...taken].sort((a, b) => a - b).join(', ') || 'none'} (in use or reserved on this host's own addresses)`,
    ),
    checkHolder(holder),
  ];
}

/** How many addresses Services can have, and which of the pool they cannot. */
function checkPool(ranges: readonly IpRange[], needs: ReadonlyMap<string, string>): Finding {
  const what = 'address pool';
  const left = [...needs].filter(([text]) => {
    const ip = parseIp(text);
    return ip !== undefined && ranges.some((range) => rangeContains(range, ip));
  });
  const count = countAddresses(ranges) - BigInt(left.length);
  const counted = `${count} ${count === 1n ? 'address' : 'addresses'}: ${ranges.map(formatRange).join(', ') || 'none'}`;
  const words =
    left.length === 0 ? counted : `${counted}; left out: ${left.map(([text, why]) => `${text} (${why})`).join(', ')}`;
  if (count > 0n) return ok(what, words);
  return wrong(what, words, 'name addresses that Services can have with --addresses');
}

function checkHolder(holder: Holder | 'unknown' | undefined): Finding {
  const what = 'other furiwake';
  if (holder === undefined) return ok(what, 'none on this host');
  const who =
    holder === 'unknown'
      ? 'something that does not say who it is'
      : `furiwake ${holder.command}, process ${holder.pid},`;
  return warning(what, `${who} is running on this host`, 'fine if that is the one that you are checking');
}
