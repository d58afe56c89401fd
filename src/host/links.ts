import { makeSubscribers } from '../async/subscribers.ts';
import { bitsOf, type Ip, parseIp } from '../core/ip/ip.ts';
import type { Links } from '../ports/network.ts';
import { asLink, linkFinder, type NetworkInterface } from './interfaces.ts';
import type { NetworkView } from './view.ts';

/** The links, for the watch and the audits, which report their changes. */
export type ReportedLinks = Links & {
  /** Another text when an interface came, went or was renamed, and when forwarding may have been switched on or off. */
  text(): string;
  /** The kernel reported that forwarding was switched on or off, or may have lost such a report. */
  noteForwarding(): void;
  /** The kernel reported that the interfaces with these numbers came up or changed their MAC. */
  noteUp(indexes: readonly number[]): void;
  /**
   * Runs `audit`, which reads the host and resolves with restored addresses. Then reports these, all added addresses
   * on the links that came up before it, and those that neighbours resolve on another link or MAC than at the last call: only now are
   * their interfaces and MACs known.
   */
  audited(audit: () => Promise<readonly Ip[]>): Promise<readonly Ip[]>;
};

export function makeLinks(view: () => Pick<NetworkView, 'interfaces' | 'present'>): ReportedLinks {
  const subscribers = makeSubscribers<readonly Ip[]>();
  let up: ReadonlySet<number> = new Set();
  /** How often forwarding may have been switched. */
  let switches = 0;
  /** Of the last audit that succeeded. */
  let audited: readonly NetworkInterface[] | undefined;

  const unannounced = (cameUp: ReadonlySet<number>): readonly Ip[] => {
    const { interfaces, present } = view();
    const before = audited ?? interfaces;
    audited = interfaces;
    if (cameUp.size === 0 && subnetsText(before) === subnetsText(interfaces)) return [];
    const [linkOf, formerLinkOf] = [linkFinder(interfaces), linkFinder(before)];
    const added = [...present.keys()].flatMap((text) => parseIp(text) ?? []);
    return added.filter((address) => {
      const [link, former] = [linkOf(address), formerLinkOf(address)];
      return link !== undefined && (cameUp.has(link.index) || link.index !== former?.index || link.mac !== former.mac);
    });
  };

  return {
    linkOf: (address) => asLink(linkFinder(view().interfaces)(address)),
    text: () => [switches, ...view().interfaces.map(({ index, name }) => `${index} ${name}`)].join('\n'),
    noteForwarding: () => {
      switches++;
    },
    onStaleNeighbours: subscribers.subscribe,
    noteUp: (indexes) => {
      up = new Set([...up, ...indexes]);
    },
    audited: async (audit) => {
      const cameUp = up;
      up = new Set();
      try {
        const restored = await audit();
        const stale = new Map([...restored, ...unannounced(cameUp)].map((address) => [address.text, address]));
        if (stale.size > 0) subscribers.tell([...stale.values()]);
        return restored;
      } catch (error) {
        up = new Set([...up, ...cameUp]);
        throw error;
      }
    },
  };
}

/** Another text when a subnet of this host is on another link, or a link has another MAC. */
function subnetsText(interfaces: readonly NetworkInterface[]): string {
  return interfaces
    .filter(({ mac, isUp }) => mac !== undefined && isUp)
    .flatMap(({ index, mac, addresses }) =>
      addresses
        .filter(({ ip, prefixLength }) => prefixLength !== bitsOf(ip.family))
        .map(({ ip, prefixLength }) => `${index} ${mac ?? ''} ${ip.text}/${prefixLength}`),
    )
    .join('\n');
}
