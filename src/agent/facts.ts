import { isDeepStrictEqual } from 'node:util';
import { rangeContains } from '../core/ip/range.ts';
import type { HostFacts } from '../core/model/host.ts';
import type { Site } from '../core/model/site.ts';
import type { Host } from '../ports/host.ts';
import type { HostNetwork } from '../ports/network.ts';

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
}): (signal: AbortSignal) => Promise<HostFacts> {
  const { host, network, site, reserved } = deps;
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
      listening: sharesOwn ? await host.listening(signal) : [],
      needs: new Map([...needs, ...needsBeside]),
    };
    if (!isDeepStrictEqual(known, facts)) known = facts;
    return known ?? facts;
  };
}
