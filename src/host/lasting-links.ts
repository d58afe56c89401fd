import { makeAlarm } from '../async/alarm.ts';
import type { Clock } from '../ports/clock.ts';
import type { Links } from '../ports/network.ts';
import { asLink, isOurInterface, linkFinder, type NetworkInterface } from './interfaces.ts';

/**
 * Longer than a DHCP client takes that removes all addresses of an interface and adds them again, and than an interface is down that is
 * configured again; and than the 5 s that pass at most before addresses that change again and again are read.
 */
const graceMs = 8_000;

/** A link as it was when it went down or lost `link.addresses`, and until when these count. */
type Lost = { readonly link: NetworkInterface; readonly untilMs: number };

/**
 * The links of addresses, as in `Links`; also for some seconds after a link has gone down or lost the subnet of an address, while the link
 * itself stays. `onEnd` is called when an address may be without a link after that time.
 */
export function makeLastingLinks({
  interfaces,
  clock,
  lifetime,
  onEnd,
}: {
  /** Of now; the same object while they are the same. */
  readonly interfaces: () => readonly NetworkInterface[];
  readonly clock: Clock;
  readonly lifetime: AbortSignal;
  readonly onEnd: () => void;
}): Pick<Links, 'linkOf'> {
  const ring = (): void => {
    const later = lost.map(({ untilMs }) => untilMs).filter((untilMs) => untilMs > clock.monotonic());
    alarm.setAt(Math.min(...later)); // one that began meanwhile
    onEnd();
  };
  const alarm = makeAlarm({ clock, signal: lifetime, ring });
  let last: readonly NetworkInterface[] = [];
  let lost: readonly Lost[] = [];
  /** The links of `lost`; the same object while they are the same. */
  let former: readonly NetworkInterface[] = [];

  const follow = (now: readonly NetworkInterface[]): void => {
    const nowMs = clock.monotonic();
    if (now === last && lost.every(({ untilMs }) => untilMs > nowMs)) return;
    const untilMs = nowMs + graceMs;
    const news = now === last ? [] : lostSubnets(last, now).map((link) => ({ link, untilMs }));
    if (news.length > 0) alarm.setAt(untilMs);
    last = now;
    lost = [...lost, ...news].filter((each) => each.untilMs > nowMs && now.some((link) => isSame(link, each.link)));
    former = lost.map(({ link }) => link);
  };

  return {
    linkOf: (address) => {
      const now = interfaces();
      follow(now);
      return asLink(linkFinder(now)(address) ?? linkFinder(former)(address));
    },
  };
}

/** The interfaces that went down or lost addresses, with these alone. */
function lostSubnets(
  before: readonly NetworkInterface[],
  now: readonly NetworkInterface[],
): readonly NetworkInterface[] {
  return before.flatMap((link) => {
    if (isOurInterface(link.name) || now.includes(link)) return [];
    const after = now.find(({ index, isUp }) => index === link.index && isUp);
    const left = new Set(after?.addresses.map(({ ip }) => ip.text));
    const addresses = link.addresses.filter(({ ip }) => !left.has(ip.text));
    return addresses.length === 0 ? [] : [{ ...link, addresses }];
  });
}

function isSame(a: NetworkInterface, b: NetworkInterface): boolean {
  return a.index === b.index && a.name === b.name && a.mac === b.mac;
}
