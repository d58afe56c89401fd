import { repeatEvery } from '../async/repeat-every.ts';
import { makeTrouble } from '../async/trouble.ts';
import type { Family } from '../core/ip/ip.ts';
import { type TrafficTable, usesNat } from '../core/traffic/table.ts';
import { filtersBridge, hasBridgeFilter } from '../dataplane/nftables/bridge-filter.ts';
import type { Clock } from '../ports/clock.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import type { Links } from '../ports/network.ts';

const everyMs = 30_000;

/**
 * Until `signal` aborts, every 30 s: reports a bridge with the nodes of `nat`, also as the stand-in of `direct`, whose packets
 * br_netfilter passes through the hooks of IP. A packet that is translated there is bridged, and a bridge sends none out of the port by
 * which it came in.
 */
export function watchNatBridges(
  {
    files,
    desired,
    links,
    clock,
    log,
  }: {
    readonly files: Pick<Files, 'exists' | 'read'>;
    readonly desired: () => TrafficTable | undefined;
    readonly links: Pick<Links, 'linkOf'>;
    readonly clock: Clock;
    readonly log: Log;
  },
  signal: AbortSignal,
): Promise<never> {
  const trouble = makeTrouble({ what: 'passing flows of nat on through a bridge', log, clock });
  const find = async (): Promise<readonly string[]> => {
    const table = desired();
    if (table === undefined || !(await hasBridgeFilter(files))) return [];
    const families = new Set<Family>();
    for (const listener of table.listeners.values()) if (usesNat(listener)) families.add(listener.address.family);
    const [names, found] = [new Set<string>(), new Set<string>()];
    for (const address of [...table.nodes.values()].flatMap(({ addresses }) => addresses)) {
      const name = families.has(address.family) ? links.linkOf(address)?.name : undefined;
      if (name !== undefined) names.add(`${address.family} ${name}`);
    }
    for (const each of names) {
      const [family = '', name = ''] = each.split(' ');
      if (await filtersBridge(files, name, family === '4' ? 4 : 6)) found.add(name);
    }
    return [...found].toSorted();
  };
  return repeatEvery({
    everyMs,
    what: 'reading the settings of bridges',
    work: async () => {
      const bridges = await find();
      if (bridges.length === 0) return trouble.over();
      trouble.failed(
        `br_netfilter filters ${bridges.join(', ')}: packets are lost if their client is behind the same port as the node. Set net.bridge.bridge-nf-call-iptables and net.bridge.bridge-nf-call-ip6tables to 0`,
      );
    },
    clock,
    log,
    signal,
  });
}
