import { keepWatching } from '../async/keep-watching.ts';
import { makeLatch, waitAtMost } from '../async/latch.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import { superviseAll } from '../async/supervise-all.ts';
import { makeTrouble } from '../async/trouble.ts';
import type { Ip } from '../core/ip/ip.ts';
import { someOf } from '../core/status/sentences.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Links } from '../ports/network.ts';
import type { Neighbour } from './frames.ts';

/** The address of this text, if this host announces it. */
type Mine = (text: string) => Ip | undefined;

/** Notices other machines that announce addresses of this host: neighbours then send their packets to those. */
export type Defence = {
  /**
   * Calls `listener` with the addresses to announce again, as texts: each at most once in ten seconds (RFC 5227 §2.4 c), for as long as
   * it is announced elsewhere. Returns a function that ends the subscription.
   */
  onAttack(listener: (texts: readonly string[]) => void): () => void;
  /** Until `signal` aborts. */
  run(mine: Mine, signal: AbortSignal): Promise<void>;
};

/** RFC 5227: DEFEND_INTERVAL. */
const paceMs = 10_000;
/** A host announces all its addresses at once: they are answered together. */
const gatherMs = 200;
const mostShown = 3;
/** Without an attack for so long, the other machine has given up. */
const calmMs = 600_000;

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
  const trouble = makeTrouble({ what: 'keeping addresses that another machine on the LAN announces', log, clock });
  /** Monotonic ms; `undefined`: none for `calmMs`. */
  let lastAttackMs: number | undefined;

  const say = (attacks: readonly (readonly [string, string])[]): void => {
    lastAttackMs = clock.monotonic();
    const machines = [...new Set(attacks.map(([, mac]) => mac))].toSorted().join(', ');
    const addresses = attacks.map(([text]) => text).toSorted();
    trouble.failed(`${machines} announces ${someOf(addresses, mostShown)}`);
  };

  const dueMs = (text: string): number => (defended.get(text) ?? -Infinity) + paceMs;

  const defend = (mine: Mine): void => {
    const nowMs = clock.monotonic();
    // This host may have withdrawn them meanwhile, in favour of that machine.
    for (const text of attacked.keys()) if (mine(text) === undefined) attacked.delete(text);
    const due = [...attacked].filter(([text]) => dueMs(text) <= nowMs);
    for (const text of defended.keys()) if (dueMs(text) <= nowMs) defended.delete(text);
    for (const [text] of due) {
      attacked.delete(text);
      defended.set(text, nowMs);
    }
    if (due.length === 0) return;
    say(due);
    subscribers.tell(due.map(([text]) => text));
  };

  const defendAll = async (mine: Mine, signal: AbortSignal): Promise<void> => {
    for (;;) {
      const calmAtMs = lastAttackMs === undefined ? Infinity : lastAttackMs + calmMs;
      const nextMs = Math.min(calmAtMs, ...Array.from(attacked.keys(), dueMs));
      if (nextMs === Infinity) await heard.wait(signal);
      else await waitAtMost(nextMs - clock.monotonic(), heard, clock, signal);
      if (attacked.size === 0 && clock.monotonic() >= calmAtMs) {
        lastAttackMs = undefined;
        trouble.over();
        continue;
      }
      await clock.sleep(gatherMs, signal);
      defend(mine);
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
          (until) => defendAll(mine, until),
        ],
        signal,
      ),
  };
}
