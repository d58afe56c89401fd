import { isDeepStrictEqual } from 'node:util';
import { makeBackoff, waitLimits } from '../async/backoff.ts';
import { settlesWithin } from '../async/settles-within.ts';
import { makeTrouble } from '../async/trouble.ts';
import { messageOf } from '../async/error-words.ts';
import { rangeContains } from '../core/ip/range.ts';
import type { HostFacts } from '../core/model/host.ts';
import type { Site } from '../core/model/site.ts';
import { usualCallMs } from '../ports/call-times.ts';
import type { Clock } from '../ports/clock.ts';
import type { Host } from '../ports/host.ts';
import type { Log } from '../ports/log.ts';
import type { HostNetwork } from '../ports/network.ts';

type ReadSockets = Pick<HostFacts, 'listening' | 'listeningTrouble'>;

const noSockets: ReadSockets = { listening: [], listeningTrouble: undefined };

/**
 * What the planner must know about the host. Its sockets are read only if one of its own addresses can be assigned,
 * because the kernel does not report when a program begins or ends to listen.
 *
 * The same object while nothing differs. `reserved`: further addresses that the host needs, by text, each with its role.
 */
export function makeFacts(deps: {
  readonly host: Pick<Host, 'listening'>;
  readonly network: Pick<HostNetwork, 'addresses'>;
  readonly site: Site;
  readonly reserved: (signal: AbortSignal) => Promise<ReadonlyMap<string, string>>;
  readonly clock: Clock;
  readonly log: Log;
}): (signal: AbortSignal) => Promise<HostFacts> {
  const { network, site, reserved } = deps;
  const readSockets = makeSocketReader(deps);
  let known: HostFacts | undefined;
  return async (signal) => {
    const needsBeside = await reserved(signal);
    const { own, primary, needs } = network.addresses();
    const ownAddresses = [...own.values()];
    const sharesOwn =
      site.handsOutOwn || ownAddresses.some((ip) => site.ranges.some((range) => rangeContains(range, ip)));
    const facts: HostFacts = {
      ownAddresses,
      primaryAddresses: primary,
      ...(sharesOwn ? await readSockets(signal) : noSockets),
      needs: new Map([...needs, ...needsBeside]),
    };
    if (!isDeepStrictEqual(known, facts)) known = facts;
    return known ?? facts;
  };
}

/**
 * Reads the sockets of the host. While that fails, or takes longer than a second, the last ones count, with why; it is tried again
 * after growing waits. Throws only if they have never been read: nothing is known of the host then.
 */
function makeSocketReader({
  host,
  clock,
  log,
}: {
  readonly host: Pick<Host, 'listening'>;
  readonly clock: Clock;
  readonly log: Log;
}): (signal: AbortSignal) => Promise<ReadSockets> {
  const trouble = makeTrouble({ what: 'reading the sockets of this host', log, clock });
  const backoff = makeBackoff(waitLimits.usual);
  let listening: ReadSockets['listening'] | undefined;
  let failed: { readonly words: string; readonly dueMs: number } | undefined;
  let isUnderWay = false;

  const read = async (signal: AbortSignal): Promise<void> => {
    isUnderWay = true;
    try {
      listening = await host.listening(signal);
      failed = undefined;
      backoff.reset();
      trouble.over();
    } catch (error) {
      signal.throwIfAborted();
      trouble.failed(error);
      failed = { words: messageOf(error), dueMs: clock.monotonic() + backoff.next() };
    } finally {
      isUnderWay = false;
    }
  };

  return async (signal) => {
    if (listening === undefined) {
      listening = await host.listening(signal);
      return { listening, listeningTrouble: undefined };
    }
    if (!isUnderWay && clock.monotonic() >= (failed?.dueMs ?? 0))
      await settlesWithin(read(signal), usualCallMs, clock, signal);
    return { listening, listeningTrouble: isUnderWay ? 'ss does not answer' : failed?.words };
  };
}
