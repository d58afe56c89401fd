import { untilAborted } from '../../src/async/abort.ts';
import { makeSubscribers } from '../../src/async/subscribers.ts';
import { parseCidr, rangeContains } from '../../src/core/ip/range.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Ip } from '../../src/core/ip/ip.ts';
import type { Addresses, Refusals } from '../../src/ports/host.ts';
import type { HostAddresses, HostNetwork, Link, Links } from '../../src/ports/network.ts';
import type { AddressExpiry } from '../../src/ports/address-expiry.ts';
import type { Placement } from '../../src/ports/placement.ts';
import { ip } from './service.ts';

type Step = 'placement.keepUntil' | 'placement.add' | 'placement.remove' | 'placement.audit' | 'placement.check';

/** The network of a host in memory. Keeps to the contract of its ports (test/contract/placement.ts). */
export type FakeNetwork = {
  readonly network: HostNetwork;
  readonly links: Links;
  readonly placement: Placement;
  readonly expiry: AddressExpiry;
  /** The added addresses. */
  readonly placed: Map<string, Ip>;
  /** Sets the host's own addresses: all of them are on the interface of the default route. */
  setOwn(...addresses: readonly string[]): void;
  /** The host has no default route; its addresses stay. */
  loseDefaultRoute(): void;
  /** Sets the addresses that the host needs to work, by text, each with its role. */
  setNeeds(needs: HostAddresses['needs']): void;
  /** Sets the networks to which the host has routes. */
  setRouted(routed: HostAddresses['routed']): void;
  /** From now on the kernel refuses these addresses, with these messages. */
  setRefused(refused: Refusals<string>): void;
  /** Whether the link has a carrier; `undefined`: there is no link. */
  setCarrier(hasCarrier: boolean | undefined): void;
  /** The kernel reports a change: of addresses, or that the link came up. */
  tellNetwork(what: 'link up' | 'addresses'): void;
};

/** The link of the addresses in `lan`. */
const lanLink: Link = { name: 'eth0', index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 };

/** `step` is awaited before each change; if it throws, the host stays as it was. `lan`: the subnets of the only link. */
export function makeFakeNetwork({
  step = async () => undefined,
  placed = new Map(),
  lan = ['0.0.0.0/0', '::/0'],
  clock,
}: {
  readonly step?: (name: Step) => Promise<void>;
  readonly placed?: Map<string, Ip>;
  readonly lan?: readonly string[];
  readonly clock: Clock;
}): FakeNetwork {
  const subnets = lan.flatMap((cidr) => parseCidr(cidr) ?? []);
  let known: HostAddresses = { own: new Map(), primary: [], needs: new Map(), routed: [], refused: new Map() };
  let refusedByKernel: Refusals<string> = new Map();
  let hasCarrier: boolean | undefined = true;
  let isLinkUp = false;
  let expiry = new AbortController();
  /** The lifetime of the addresses. */
  let keptUntilMs: number | undefined;
  /** The argument of the last addition: the next one handles only the difference. */
  let wantedBefore: Addresses = PersistentMap.empty();
  const changes = makeSubscribers();
  const stale = makeSubscribers<readonly Ip[]>();

  const refusalsOf = (wanted: Addresses): Refusals<string> => {
    const refused = new Map([...refusedByKernel].filter(([text]) => wanted.has(text) && !known.own.has(text)));
    const isSame =
      refused.size === known.refused.size && [...refused].every(([text, words]) => known.refused.get(text) === words);
    return isSame ? known.refused : refused;
  };
  const isOver = (): boolean => keptUntilMs !== undefined && clock.monotonic() >= keptUntilMs;
  const put = (wanted: Addresses, candidates: Iterable<string> = wanted.keys()): readonly Ip[] => {
    if (isOver()) return [];
    wantedBefore = wanted;
    for (const text of refusedByKernel.keys()) placed.delete(text);
    const refused = refusalsOf(wanted);
    if (refused !== known.refused) known = { ...known, refused };
    const added = [...new Set(candidates)]
      .flatMap((text) => wanted.get(text) ?? [])
      .filter(({ text }) => !placed.has(text) && !known.own.has(text) && !refused.has(text));
    for (const address of added) placed.set(address.text, address);
    return added;
  };

  const expire = async (untilMs: number, signal: AbortSignal): Promise<void> => {
    // A timer may fire a little early by the monotonic clock.
    while (clock.monotonic() < untilMs) await clock.sleep(untilMs - clock.monotonic(), signal);
    placed.clear();
  };

  const linkOf: Links['linkOf'] = (address) =>
    subnets.some((subnet) => rangeContains(subnet, address)) ? lanLink : undefined;

  return {
    placed,
    network: {
      addresses: () => known,
      hasCarrier: (address) => (linkOf(address) === undefined ? undefined : hasCarrier),
      refresh: async () => known,
      watch: async (onChange, signal) => {
        const end = changes.subscribe(onChange);
        onChange();
        await untilAborted(signal);
        end();
      },
    },
    links: { linkOf, onStaleNeighbours: stale.subscribe },
    expiry: {
      removeUnending: async (signal) => {
        await step('placement.remove');
        signal.throwIfAborted();
        if (keptUntilMs === undefined) placed.clear();
      },
      keepUntil: async (untilMs, signal) => {
        await step('placement.keepUntil');
        signal.throwIfAborted();
        expiry.abort();
        expiry = new AbortController();
        if (isOver()) wantedBefore = PersistentMap.empty();
        keptUntilMs = untilMs;
        if (untilMs !== undefined) expire(untilMs, expiry.signal).catch(() => undefined); // another lifetime
      },
    },
    placement: {
      add: async (wanted, signal) => {
        await step('placement.add');
        signal.throwIfAborted();
        return put(wanted, PersistentMap.changedKeys(wantedBefore, wanted));
      },
      remove: async (wanted, signal) => {
        await step('placement.remove');
        signal.throwIfAborted();
        const gone = [...placed.keys()].filter((text) => !wanted.has(text));
        for (const text of gone) placed.delete(text);
        wantedBefore = wantedBefore.with(gone.map((text) => [text, undefined]));
        const refused = new Map([...known.refused].filter(([text]) => wanted.has(text)));
        if (refused.size < known.refused.size) known = { ...known, refused };
        return gone.length > 0;
      },
      audit: async (wanted, signal) => {
        await step('placement.audit');
        signal.throwIfAborted();
        for (const text of known.own.keys()) placed.delete(text);
        const restored = put(wanted);
        const onLink = isLinkUp ? [...placed.values()].filter((address) => linkOf(address) !== undefined) : [];
        isLinkUp = false;
        const told = new Set([...restored, ...onLink]);
        if (told.size > 0) stale.tell([...told]);
        return restored;
      },
      check: async (wanted, signal) => {
        await step('placement.check');
        signal.throwIfAborted();
        return put(wanted, [...PersistentMap.changedKeys(wantedBefore, wanted), ...known.refused.keys()]);
      },
    },
    setOwn: (...texts) => {
      const own = new Map(texts.map((text) => [text, ip(text)]));
      known = { ...known, own, primary: [...own.values()] };
    },
    loseDefaultRoute: () => {
      known = { ...known, primary: [] };
    },
    setNeeds: (needs) => {
      known = { ...known, needs };
    },
    setRouted: (routed) => {
      known = { ...known, routed };
    },
    setRefused: (refused) => {
      refusedByKernel = refused;
    },
    setCarrier: (next) => {
      hasCarrier = next;
    },
    tellNetwork: (what) => {
      isLinkUp ||= what === 'link up';
      changes.tell();
    },
  };
}
