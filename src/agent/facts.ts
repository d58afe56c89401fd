import { isDeepStrictEqual } from 'node:util';
import type { HostFacts } from '../core/model/host.ts';
import { type IpRange, rangeContains } from '../core/ip/range.ts';
import type { Clock } from '../ports/clock.ts';
import type { Host } from '../ports/host.ts';

/** How long the host's own addresses are taken as known: an administrator changes them seldom. */
const lifetimeMs = 5_000;

/**
 * What the planner must know of the host, as cheaply as it may be: the sockets only matter where one of the host's own
 * addresses can be handed out, and then they are read anew each time; else all is read at most every five seconds. The
 * same object while they are the same.
 */
export function makeFacts({
  host,
  ranges,
  clock,
}: {
  readonly host: Host;
  readonly ranges: readonly IpRange[];
  readonly clock: Clock;
}): (signal: AbortSignal) => Promise<HostFacts> {
  let known: { readonly facts: HostFacts; readonly atMs: number } | undefined;
  const sharesOwn = ({ ownAddresses }: HostFacts): boolean =>
    ownAddresses.some((ip) => ranges.some((range) => rangeContains(range, ip)));
  return async (signal) => {
    const now = clock.monotonic();
    if (known === undefined || sharesOwn(known.facts) || now - known.atMs > lifetimeMs) {
      const facts = await host.facts(signal);
      known = { facts: known !== undefined && isDeepStrictEqual(known.facts, facts) ? known.facts : facts, atMs: now };
    }
    return known.facts;
  };
}
