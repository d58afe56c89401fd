import { keepWatching } from '../async/keep-watching.ts';
import { makeLatch, waitAtMost } from '../async/latch.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import { superviseAll } from '../async/supervise-all.ts';
import type { Ip } from '../core/ip/ip.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Links } from '../ports/network.ts';
import type { Neighbour } from './frames.ts';

/** Notices other machines that announce addresses of this host: neighbours then send their packets to those. */
export type Defence = {
  /**
   * Calls `listener` with the addresses to announce again, as texts: each at most once in ten seconds (RFC 5227 §2.4 c), for as long as
   * it is announced elsewhere. Returns a function that ends the subscription.
   */
  onAttack(listener: (texts: readonly string[]) => void): () => void;
  /** Until `signal` aborts. `mine`: the address, if this host announces it. */
  run(mine: (text: string) => Ip | undefined, signal: AbortSignal): Promise<void>;
};

/** RFC 5227: DEFEND_INTERVAL. */
const paceMs = 10_000;
/** A host announces all its addresses at once: they are answered together. */
const gatherMs = 200;
const mostShown = 20;

export function makeDefence(deps: {
  readonly hear: (signal: AbortSignal) => AsyncIterable<Neighbour | 'listening'>;
  readonly links: Pick<Links, 'linkOf'>;
  readonly clock: Clock;
  readonly log: Log;
}): Defence {
  const { hear, links, clock, log } = deps;
  const subscribers = makeSubscribers<readonly string[]>();
  const heard = makeLatch();
  /** Announced elsewhere and not yet announced again: text of the address → MAC. */
  const attacked = new Map<string, string>();
  /** When each was announced again, monotonic ms; for `paceMs`. */
  const defended = new Map<string, number>();
  /** The MAC that was logged for each. */
  const said = new Map<string, string>();

  const say = (attacks: readonly (readonly [string, string])[]): void => {
    const fresh = attacks.filter(([text, mac]) => said.get(text) !== mac);
    for (const [text, mac] of fresh) said.set(text, mac);
    if (fresh.length > 0)
      log.warn(
        { addresses: fresh.slice(0, mostShown).map((parts) => parts.join(' ')), count: fresh.length },
        'another machine on the LAN announced addresses of this host; announcing them again',
      );
  };

  const dueMs = (text: string): number => (defended.get(text) ?? -Infinity) + paceMs;

  const defend = (): void => {
    const nowMs = clock.monotonic();
    const due = [...attacked].filter(([text]) => dueMs(text) <= nowMs);
    for (const text of defended.keys()) if (dueMs(text) <= nowMs) defended.delete(text);
    for (const [text] of due) {
      attacked.delete(text);
      defended.set(text, nowMs);
    }
    say(due);
    if (due.length > 0) subscribers.tell(due.map(([text]) => text));
  };

  const defendAll = async (signal: AbortSignal): Promise<void> => {
    for (;;) {
      if (attacked.size === 0) await heard.wait(signal);
      else {
        const nextMs = Math.min(...Array.from(attacked.keys(), dueMs));
        await waitAtMost(nextMs - clock.monotonic(), heard, clock, signal);
      }
      await clock.sleep(gatherMs, signal);
      defend();
    }
  };

  return {
    onAttack: subscribers.subscribe,
    run: (mine, signal) =>
      superviseAll(
        [
          (until) =>
            keepWatching({
              what: 'listening to announcements of other machines',
              watch: () => hear(until),
              react: (event) => {
                // What was announced while nothing listened, is announced again by a furiwake after 5 and 30 s.
                if (event === 'listening') return;
                const address = mine(event.address);
                // With two interfaces on one LAN, this host hears itself.
                if (address === undefined || links.linkOf(address)?.mac === event.mac) return;
                attacked.set(event.address, event.mac);
                heard.set();
              },
              clock,
              log,
              signal: until,
            }),
          defendAll,
        ],
        signal,
      ),
  };
}
