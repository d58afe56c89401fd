import { systemClock } from '../../src/main/node/clock.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Ip } from '../../src/core/ip/ip.ts';
import type { Addresses, HostAddresses, Placement, Refusals } from '../../src/ports/host.ts';
import { ip } from './service.ts';

type Step = 'placement.keepUntil' | 'placement.add' | 'placement.remove' | 'placement.audit';

/** Addresses of a host in memory. Keeps to the contract of its port (test/contract/placement.ts). */
export type FakePlacement = {
  readonly placement: Placement;
  /** The added addresses. */
  readonly placed: Map<string, Ip>;
  /** Sets the host's own addresses. */
  setOwn(...addresses: readonly string[]): void;
  /** Sets the addresses that the host needs to work, by text, each with its role. */
  setNeeds(needs: HostAddresses['needs']): void;
  /** From now on the kernel refuses these addresses, with these messages. */
  setRefused(refused: Refusals<string>): void;
  /** The kernel reports a change: of addresses, or that the link of all of them came up. */
  tellNetwork(what: 'link up' | 'addresses'): void;
};

/** `step` is awaited before each change; if it throws, the host stays as it was. */
export function makeFakePlacement(
  step: (name: Step) => Promise<void> = async () => undefined,
  placed: Map<string, Ip> = new Map(),
  clock: Clock = systemClock,
): FakePlacement {
  let known: HostAddresses = { own: new Map(), primary: [], needs: new Map(), refused: new Map() };
  let refusedByKernel: Refusals<string> = new Map();
  let isLinkUp = false;
  let expiry = new AbortController();
  const listeners = new Set<() => void>();

  const refusalsOf = (wanted: Addresses): Refusals<string> => {
    const refused = new Map([...refusedByKernel].filter(([text]) => wanted.has(text) && !known.own.has(text)));
    const isSame =
      refused.size === known.refused.size && [...refused].every(([text, words]) => known.refused.get(text) === words);
    return isSame ? known.refused : refused;
  };
  const put = (wanted: Addresses): readonly Ip[] => {
    for (const text of refusedByKernel.keys()) placed.delete(text);
    const refused = refusalsOf(wanted);
    if (refused !== known.refused) known = { ...known, refused };
    const added = [...wanted.values()].filter(
      ({ text }) => !placed.has(text) && !known.own.has(text) && !refused.has(text),
    );
    for (const address of added) placed.set(address.text, address);
    return added;
  };

  return {
    placed,
    placement: {
      addresses: () => known,
      refresh: async () => known,
      linkOf: () => undefined,
      add: async (wanted, signal) => {
        await step('placement.add');
        signal.throwIfAborted();
        return put(wanted);
      },
      remove: async (wanted, signal) => {
        await step('placement.remove');
        signal.throwIfAborted();
        for (const text of placed.keys()) if (!wanted.has(text)) placed.delete(text);
        const refused = new Map([...known.refused].filter(([text]) => wanted.has(text)));
        if (refused.size < known.refused.size) known = { ...known, refused };
      },
      keepUntil: async (untilMs, signal) => {
        await step('placement.keepUntil');
        signal.throwIfAborted();
        expiry.abort();
        expiry = new AbortController();
        if (untilMs === undefined) return;
        void clock.sleep(Math.max(0, untilMs - clock.monotonic()), expiry.signal).then(
          () => placed.clear(),
          () => undefined, // another lifetime
        );
      },
      audit: async (wanted, signal) => {
        await step('placement.audit');
        signal.throwIfAborted();
        for (const text of known.own.keys()) placed.delete(text);
        const restored = put(wanted);
        const toAdvertise = isLinkUp ? [...placed.values()] : restored;
        isLinkUp = false;
        return { restored, toAdvertise };
      },
      run: (onChange, signal) =>
        new Promise((resolve) => {
          listeners.add(onChange);
          onChange();
          const end = (): void => {
            listeners.delete(onChange);
            resolve();
          };
          if (signal.aborted) end();
          signal.addEventListener('abort', end, { once: true });
        }),
    },
    setOwn: (...texts) => {
      const own = new Map(texts.map((text) => [text, ip(text)]));
      known = { ...known, own, primary: [...own.values()] };
    },
    setNeeds: (needs) => {
      known = { ...known, needs };
    },
    setRefused: (refused) => {
      refusedByKernel = refused;
    },
    tellNetwork: (what) => {
      isLinkUp ||= what === 'link up';
      for (const tell of listeners) tell();
    },
  };
}
