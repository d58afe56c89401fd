import type { ListenerKey } from '../core/model/names.ts';
import type { Direct } from '../ports/direct.ts';
import type { Nat } from '../ports/nat.ts';
import type { Proxy } from '../ports/proxy.ts';
import type { Clock } from '../ports/clock.ts';
import type { Steering } from '../ports/steering.ts';
import { valueWithin } from '../async/settles-within.ts';
import { answerMs } from './ask.ts';

/** What is counted of a listener, by all dataplanes. Totals count since the dataplane started to count. */
export type Counters = {
  /** Open now; `undefined`: only HAProxy knows. */
  readonly connections: number | undefined;
  /** Connections, or flows of `direct` and `nat`. */
  readonly total: number;
  readonly bytesIn: number;
  /** `undefined`: `direct` does not see what the nodes answer. */
  readonly bytesOut: number | undefined;
  /** From the clients; `undefined`: HAProxy sees no packets. */
  readonly packetsIn: number | undefined;
  /** To the clients; `undefined`: only `nat` sees them. */
  readonly packetsOut: number | undefined;
  /** Packets from outside the source ranges, of TCP one for each attempt to connect, and connections beyond a limit. */
  readonly refused: number;
};

type CountsOf<Value> = ReadonlyMap<ListenerKey, Value>;

/** Reads the counters of these listeners, or of all. A dataplane that does not answer in time contributes none. */
export type ReadCounters = (
  signal: AbortSignal,
  keys?: readonly ListenerKey[],
) => Promise<ReadonlyMap<ListenerKey, Counters>>;

export function makeCounters({
  proxy,
  steering,
  direct,
  nat,
  clock,
}: {
  readonly proxy: Pick<Proxy, 'counters'>;
  readonly steering: Pick<Steering, 'refused'>;
  readonly direct: Pick<Direct, 'counters'>;
  readonly nat: Pick<Nat, 'counters'>;
  readonly clock: Pick<Clock, 'deadline'>;
}): ReadCounters {
  return async (signal, keys) => {
    const answer = <Value>(counted: Promise<CountsOf<Value>>): Promise<CountsOf<Value>> =>
      valueWithin(counted, new Map(), answerMs, clock, signal);
    const [proxied, refused, sent, translated] = await Promise.all([
      answer(proxy.counters(signal, keys)),
      answer(steering.refused(signal, keys)),
      answer(direct.counters(signal, keys)),
      answer(nat.counters(signal, keys)),
    ]);
    const counters = new Map<ListenerKey, Counters>();
    for (const [key, each] of proxied)
      counters.set(key, { ...each, ...noPackets, refused: each.refused + (refused.get(key) ?? 0) });
    for (const [key, { flows, packets, bytes, refused: outside }] of sent) {
      const each = {
        connections: undefined,
        total: flows,
        bytesIn: bytes,
        bytesOut: undefined,
        packetsIn: packets,
        packetsOut: undefined,
        refused: outside,
      };
      counters.set(key, sumOf(counters.get(key), each));
    }
    for (const [key, { flows, ...each }] of translated)
      counters.set(key, sumOf(counters.get(key), { ...each, connections: undefined, total: flows }));
    return counters;
  };
}

const noPackets = { packetsIn: undefined, packetsOut: undefined };

/** What is not known counts as none, unless it is not known of both. */
export function sumOf(a: Counters | undefined, b: Counters): Counters {
  if (a === undefined) return b;
  return {
    connections: sumOfFigures(a.connections, b.connections),
    total: a.total + b.total,
    bytesIn: a.bytesIn + b.bytesIn,
    bytesOut: sumOfFigures(a.bytesOut, b.bytesOut),
    packetsIn: sumOfFigures(a.packetsIn, b.packetsIn),
    packetsOut: sumOfFigures(a.packetsOut, b.packetsOut),
    refused: a.refused + b.refused,
  };
}

/** As {@link sumOf}, of one figure. */
export function sumOfFigures(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : b === undefined ? a : a + b;
}
