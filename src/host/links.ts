import { makeSubscribers } from '../async/subscribers.ts';
import { type Ip, parseIp } from '../core/ip/ip.ts';
import type { Links } from '../ports/network.ts';
import { linkFinder } from './interfaces.ts';
import type { NetworkView } from './view.ts';

/** The links, for the watch and the audits, which report their changes. */
export type ReportedLinks = Links & {
  /** Another text when an interface came, went or was renamed. */
  text(): string;
  /** The kernel reported that the interfaces with these numbers came up or changed their MAC. */
  noteUp(indexes: readonly number[]): void;
  /**
   * Runs `audit`, which reads the host and resolves with restored addresses. Then reports these, and all added addresses
   * on the links that came up before it: only now are their interfaces and MACs known.
   */
  audited(audit: () => Promise<readonly Ip[]>): Promise<readonly Ip[]>;
};

export function makeLinks(view: () => Pick<NetworkView, 'interfaces' | 'present'>): ReportedLinks {
  const subscribers = makeSubscribers<readonly Ip[]>();
  let up: ReadonlySet<number> = new Set();

  const addedOn = (links: ReadonlySet<number>): readonly Ip[] => {
    if (links.size === 0) return [];
    const { interfaces, present } = view();
    const linkOf = linkFinder(interfaces);
    const added = [...present.keys()].flatMap((text) => parseIp(text) ?? []);
    return added.filter((address) => links.has(linkOf(address)?.index ?? 0));
  };

  return {
    linkOf: (address) => {
      const link = linkFinder(view().interfaces)(address);
      if (link?.mac === undefined) return undefined;
      const { name, index, mac, mtu } = link;
      return { name, index, mac, mtu };
    },
    text: () =>
      view()
        .interfaces.map(({ index, name }) => `${index} ${name}`)
        .join('\n'),
    onStaleNeighbours: subscribers.subscribe,
    noteUp: (indexes) => {
      up = new Set([...up, ...indexes]);
    },
    audited: async (audit) => {
      const cameUp = up;
      up = new Set();
      try {
        const restored = await audit();
        const stale = new Map([...restored, ...addedOn(cameUp)].map((address) => [address.text, address]));
        if (stale.size > 0) subscribers.tell([...stale.values()]);
        return restored;
      } catch (error) {
        up = new Set([...up, ...cameUp]);
        throw error;
      }
    },
  };
}
