import { wordsOf } from '../async/error-words.ts';
import type { HostTable } from '../ports/host-table.ts';

/** What the host says of tables of nftables that may not be in force; the conditions of Services say it of their listeners. */
export function makeTableTroubles(parts: Readonly<Record<'steering' | 'direct' | 'nat', Pick<HostTable, 'outage'>>>): {
  trouble(): string | undefined;
  /** Calls `listener` when `trouble` may have changed; returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
} {
  const outages = [parts.steering, parts.direct, parts.nat].map(({ outage }) => outage);
  return {
    trouble: () => {
      const words = outages.map((outage) => outage.words()).find((each) => each !== undefined);
      return words && `another program has changed an nftables table, and it cannot be restored: ${wordsOf(words)}`;
    },
    subscribe: (listener) => {
      const ends = outages.map((outage) => outage.subscribe(listener));
      return () => ends.forEach((end) => end());
    },
  };
}
