import { isDeepStrictEqual } from 'node:util';
import { makeBackoff } from '../async/backoff.ts';
import { makeLatch, waitAtMost } from '../async/latch.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import { makeTrouble } from '../async/trouble.ts';
import { messageOf } from '../async/error-words.ts';
import type { Ip } from '../core/ip/ip.ts';
import type { Verdict } from '../core/reasons.ts';
import type { TrafficTable } from '../core/traffic/table.ts';
import type { DuplicateProbe } from '../ports/advertiser.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { HostNetwork } from '../ports/network.ts';
import { addressesOf, type LanKnowledge, nothingKnown, withAnswers } from './lan-knowledge.ts';
import { withListeners } from './listener-changes.ts';
import { unplaced } from './withdrawn.ts';

/**
 * The addresses that another host may have, so that this one adds them only after a probe has found no other machine that has them; until
 * then their listeners are `unplaced` here, for neighbours may still send packets here. There are two causes:
 *
 * - furiwake has ended on the other host without cleanup, or is cut off there. The Lease names such hosts, not their addresses, and
 *   HAProxy still serves there;
 * - this host is cut off, and serves on because it has always been alone. Another one may have been installed since, and probed a LAN that
 *   this one had left: an address whose LAN has no carrier is removed, and probed when it has one again.
 *
 *   setKeepers(hosts) ─► each address of the table is probed ─► free: added
 *                                        ▲                  └─► answered by another machine: not added, probed again ─┐
 *                                        └────────────────────────────────────────────────────────────────────────────┘
 */
export type KeptElsewhere = {
  /**
   * The hosts that the Lease names. `inForce`: the table that this host serves now; its addresses stay until a probe finds another machine
   * that has them. Without effect while the hosts are the same.
   */
  setKeepers(hosts: readonly string[], inForce: TrafficTable | undefined): void;
  /** Whether the Lease of this host has ended, and it serves `inForce` on. */
  setCutOff(isCutOff: boolean, inForce: TrafficTable | undefined): void;
  /** LANs may have lost or regained their carrier. */
  noteCarriers(): void;
  /** This host has no address any more: each one is probed before it is added. */
  forget(): void;
  /** Another machine may answer for these addresses of this host, by their text: they are probed again. */
  note(found: ReadonlyMap<string, string>): void;
  /** The table with the addresses removed that are not on this host, or not yet. */
  admit(table: TrafficTable): TrafficTable;
  /** What the next process adds without a probe. */
  toSave(table: TrafficTable): TrafficTable;
  /** Whether this host leaves the address to another machine: why, or `unknown` until it is probed; `undefined`: it does not. */
  stateOf(address: Ip): Verdict | 'unknown' | undefined;
  /** Whether it leaves an address to another machine. */
  leavesAny(): boolean;
  /** Why addresses cannot be probed; `undefined`: they can. */
  trouble(): string | undefined;
  /** Calls `listener` when any of this may have changed; returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
  /** Probes until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

/** Between two probes of an address that another machine has. */
const repeat = { firstMs: 1_000, mostMs: 8_000 };
/** That machine may have missed a probe: without an answer it is asked again after these pauses. */
const confirmMs = [500, 500];
/**
 * Between two probes of the addresses of this host, for the other host may get one back, for example when its cable is in again: the
 * least time, and that for each address.
 */
const [recheckMs, recheckMsEach] = [5_000, 3];
/** The host removes its note and its addresses at about the same time: so long they are still probed. */
const lingerMs = 3_000;
const mostShown = 20;

export function makeKeptElsewhere({
  duplicateProbe,
  network,
  clock,
  log,
}: {
  readonly duplicateProbe: DuplicateProbe;
  readonly network: Pick<HostNetwork, 'hasCarrier'>;
  readonly clock: Clock;
  readonly log: Log;
}): KeptElsewhere {
  let keepers: readonly string[] = [];
  let isCutOff = false;
  /** The addresses whose LAN has lost its carrier since. */
  let unplugged: ReadonlySet<string> = new Set();
  /** The hosts that may have addresses, and how that came, for messages. */
  let shown = '';
  let cause = '';
  /** Set when `keepers` has become empty. */
  let endsAtMs: number | undefined;
  /** When the addresses of this host are probed again. */
  let recheckAtMs = 0;
  /** The addresses of the last table. */
  let wanted: ReadonlyMap<string, Ip> = new Map();
  let known = nothingKnown;
  let failure: string | undefined;
  const wake = makeLatch();
  const subscribers = makeSubscribers();
  const backoff = makeBackoff(repeat);
  const trouble = makeTrouble({ what: 'probing the LAN for addresses of another host', log, clock, level: 'error' });

  const isNamed = (): boolean => keepers.length > 0 || endsAtMs !== undefined;
  const isOn = (): boolean => isNamed() || isCutOff;
  const isOpen = (): boolean => known.due.size > 0 || known.theirs.size > 0;
  const recheck = (): void => {
    known = { ...known, due: new Set([...known.due, ...known.free]) };
    recheckAtMs = clock.monotonic() + Math.max(recheckMs, wanted.size * recheckMsEach);
  };
  /** From now on this is known; all of it is probed again. */
  const beginWith = (now: LanKnowledge): void => {
    known = now;
    recheck();
    backoff.reset();
    wake.set();
  };
  const end = (): void => {
    endsAtMs = undefined;
    if (isOn()) return;
    [known, failure] = [nothingKnown, undefined];
    trouble.drop();
    subscribers.tell();
  };
  /** Those that are in force now count as this host's, without those that are doubted already. */
  const begin = (inForce: TrafficTable | undefined): void => {
    wanted = addressesOf(inForce);
    const free = [...wanted.keys()].filter((text) => !known.due.has(text) && !known.theirs.has(text));
    known = { ...known, free: new Set(free) };
  };
  const isUnplugged = (address: Ip | undefined): boolean =>
    address !== undefined && network.hasCarrier(address) === false;
  const noteCarriers = (): void => {
    if (!isCutOff) return;
    const lost = new Set([...known.free].filter((text) => isUnplugged(wanted.get(text))));
    if (lost.size > 0) {
      unplugged = new Set([...unplugged, ...lost]);
      const free = new Set([...known.free].filter((text) => !lost.has(text)));
      known = { ...known, free, due: new Set([...known.due, ...lost]) };
      subscribers.tell();
    }
    if (known.due.size > 0) wake.set();
  };

  const say = (before: LanKnowledge, now: LanKnowledge): void => {
    const fresh = [...now.theirs].filter(([text]) => !before.theirs.has(text));
    const over = [...before.theirs.keys()].filter((text) => now.free.has(text));
    if (fresh.length > 0)
      log.error(
        { addresses: fresh.slice(0, mostShown).map((parts) => parts.join(' ')), count: fresh.length },
        `not served here: another machine on the LAN answers for addresses that ${shown} may still have`,
      );
    if (over.length > 0)
      log.info(
        { addresses: over.slice(0, mostShown), count: over.length },
        'served here now: no other machine on the LAN answers for these addresses any more',
      );
  };

  /** Without a cable no machine can answer. An address on no LAN cannot be probed; another machine keeps it if it had it before. */
  const canAsk = (address: Ip): boolean => network.hasCarrier(address) ?? !known.theirs.has(address.text);

  const ask = async (addresses: readonly Ip[], signal: AbortSignal): Promise<ReadonlyMap<string, string>> => {
    const found = new Map(await duplicateProbe(addresses, signal));
    for (const pauseMs of confirmMs) {
      const silent = addresses.filter(({ text }) => known.theirs.has(text) && !found.has(text));
      if (silent.length === 0 || (keepers.length === 0 && !isCutOff)) break;
      await clock.sleep(pauseMs, signal);
      for (const [text, mac] of await duplicateProbe(silent, signal)) found.set(text, mac);
    }
    return found;
  };

  const probe = async (signal: AbortSignal): Promise<void> => {
    const [before, failedBefore] = [known, failure];
    const texts = new Set([...before.due, ...before.theirs.keys()]);
    const asked = [...texts].flatMap((text) => wanted.get(text) ?? []).filter(canAsk);
    try {
      const found = asked.length === 0 ? new Map<string, string>() : await ask(asked, signal);
      trouble.over();
      failure = undefined;
      const answered = asked.filter((address) => found.has(address.text) || canAsk(address));
      known = withAnswers(known, answered, found, wanted);
      say(before, known);
    } catch (error) {
      signal.throwIfAborted();
      trouble.failed(error);
      failure = messageOf(error);
    }
    if (known !== before || failure !== failedBefore) subscribers.tell();
  };

  const admit = (table: TrafficTable): TrafficTable => {
    if (!isOn()) return table;
    wanted = addressesOf(table);
    const { due, theirs } = known;
    const free = new Set([...known.free].filter((text) => wanted.has(text))); // this host loses the others
    if (free.size < known.free.size) known = { ...known, free };
    const unknown = [...wanted.keys()].filter((text) => ![free, due, theirs].some((each) => each.has(text)));
    if (unknown.length > 0 && isNamed()) {
      known = { ...known, due: new Set([...due, ...unknown]) };
      wake.set();
    } else if (unknown.length > 0) {
      known = { ...known, free: new Set([...free, ...unknown]) };
      noteCarriers();
    }
    const shut = [...table.listeners.values()].filter(
      (each) => !each.isHostAddress && !known.free.has(each.address.text),
    );
    return withListeners(
      table,
      shut.map((listener) => [listener.key, unplaced(listener)]),
    );
  };

  return {
    setKeepers: (hosts, inForce) => {
      if (isDeepStrictEqual(hosts, keepers)) return;
      const wasNamed = isNamed();
      keepers = hosts;
      if (hosts.length > 0) {
        shown = `${hosts.length === 1 ? 'host' : 'hosts'} ${hosts.join(', ')}`;
        cause = 'where furiwake has ended without cleanup or is cut off from the API server';
        endsAtMs = undefined;
        if (!wasNamed) begin(inForce);
        beginWith(known);
      } else {
        endsAtMs = clock.monotonic() + lingerMs;
        backoff.reset();
        wake.set();
      }
    },
    setCutOff: (now, inForce) => {
      if (now === isCutOff) return;
      const wasOn = isOn();
      isCutOff = now;
      unplugged = new Set();
      if (!now) return isNamed() ? undefined : end();
      if (!isNamed())
        [shown, cause] = ['another host', 'which has taken over while this one is cut off from the API server'];
      if (!wasOn) begin(inForce);
      noteCarriers();
    },
    noteCarriers,
    forget: () => {
      if (isOn()) beginWith(nothingKnown);
    },
    note: (found) => {
      const texts = [...found.keys()].filter((text) => known.free.has(text) && (isNamed() || unplugged.has(text)));
      if (texts.length === 0) return;
      known = { ...known, due: new Set([...known.due, ...texts]) };
      wake.set();
    },
    admit,
    toSave: (table) => (isNamed() ? admit(table) : table),
    stateOf: ({ text }) => {
      if (!isOn() || known.free.has(text)) return undefined;
      const mac = known.theirs.get(text);
      if (mac === undefined && failure === undefined) return 'unknown';
      const why =
        mac === undefined
          ? `${shown} may still have it, and the LAN cannot be probed: ${failure}`
          : `another machine on the LAN (MAC address ${mac}) answers for it, probably ${shown}, ${cause}`;
      return { reason: 'AnsweredElsewhere', message: `${text} is not on this host: ${why}` };
    },
    leavesAny: () => known.theirs.size > 0,
    trouble: () =>
      failure === undefined
        ? undefined
        : `the LAN cannot be probed for addresses that ${shown} may still have: ${failure}`,
    subscribe: subscribers.subscribe,
    run: async (signal) => {
      for (;;) {
        if (failure !== undefined) await clock.sleep(backoff.next(), signal);
        else if (isOpen()) await waitAtMost(backoff.next(), wake, clock, signal);
        else {
          backoff.reset();
          await (isNamed() ? waitAtMost(recheckAtMs - clock.monotonic(), wake, clock, signal) : wake.wait(signal));
        }
        if (keepers.length > 0 && clock.monotonic() >= recheckAtMs) recheck();
        if (isOpen()) await probe(signal);
        if (endsAtMs !== undefined && (!isOpen() || clock.monotonic() >= endsAtMs)) end();
      }
    },
  };
}
