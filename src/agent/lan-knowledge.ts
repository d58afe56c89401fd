import type { Ip } from '../core/ip/ip.ts';
import { isSameMap } from '../core/persistent-map.ts';
import type { TrafficTable } from '../core/traffic/table.ts';

/** What is known of addresses, by their text. */
export type LanKnowledge = {
  /** To be probed. */
  readonly due: ReadonlySet<string>;
  /** This host may have them: no other machine answered the last probe, or they were in force before the first one. */
  readonly free: ReadonlySet<string>;
  /** Another machine answered the last probe: its MAC. */
  readonly theirs: ReadonlyMap<string, string>;
};

export const nothingKnown: LanKnowledge = { due: new Set(), free: new Set(), theirs: new Map() };

/** The addresses that furiwake adds to a host. */
export function addressesOf(table: TrafficTable | undefined): ReadonlyMap<string, Ip> {
  const added = [...(table?.listeners.values() ?? [])].filter(({ isHostAddress }) => !isHostAddress);
  return new Map(added.map(({ address }) => [address.text, address]));
}

/** The same object if nothing is new. Without addresses that are not `wanted`; those that were forgotten meanwhile stay unknown. */
export function withAnswers(
  known: LanKnowledge,
  asked: readonly Ip[],
  found: ReadonlyMap<string, string>,
  wanted: ReadonlyMap<string, Ip>,
): LanKnowledge {
  const answered = asked.filter(({ text }) => known.due.has(text) || known.theirs.has(text)).map(({ text }) => text);
  const free = new Set(known.free);
  const theirs = new Map([...known.theirs].filter(([text]) => wanted.has(text)));
  for (const text of answered) {
    const mac = found.get(text);
    if (mac === undefined) {
      free.add(text);
      theirs.delete(text);
    } else {
      free.delete(text);
      theirs.set(text, mac);
    }
  }
  const settled = new Set(answered);
  const due = new Set([...known.due].filter((text) => !settled.has(text) && wanted.has(text)));
  const isSame = due.size === known.due.size && free.size === known.free.size && isSameMap(theirs, known.theirs);
  return isSame ? known : { due, free, theirs };
}
