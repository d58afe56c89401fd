import type { ListenerKey, ServiceKey } from '../core/model/names.ts';
import type { TrafficTable } from '../core/traffic/table.ts';
import type { Clock } from '../ports/clock.ts';
import { makeFlowWindows, type RecentFlows } from './recent-flows.ts';
import { type Counters, type ReadCounters, sumOf, sumOfFigures } from './counters.ts';

/** Averages per second. `bytesOut` is `undefined` where it is not counted. */
export type TrafficRates = {
  readonly connections: number;
  readonly bytesIn: number;
  readonly bytesOut: number | undefined;
};

/** The traffic of a listener or a Service. */
export type Traffic = Counters & {
  /** `undefined` while they are not known. */
  readonly rates: TrafficRates | undefined;
  /** Of listeners whose packets go past HAProxy; `undefined` while they are not known. */
  readonly recent: RecentFlows | undefined;
};

/**
 * Reads the counters of these listeners, or of all that are served, and derives their rates.
 */
export type TrafficMeter = (
  signal: AbortSignal,
  keys?: readonly ListenerKey[],
) => Promise<ReadonlyMap<ListenerKey, Traffic>>;

/** Bytes are counted every five seconds: rates over less time would jump. */
const leastMs = 10_000;
/** An average over a longer time says little about the present. */
const mostMs = 120_000;

type Reading = { readonly counters: Counters; readonly atMs: number; readonly rates: TrafficRates | undefined };

/**
 * Rates come from two readings of a listener, 10 s to 2 min apart, and stay until the next pair: a listener has none
 * before its second reading, and after a reload of HAProxy or a replacement of the table of direct or nat. HAProxy's
 * own rates are not used: its 32 bits are too few for 430 MB/s, and those of a long transfer swing by half.
 */
export function makeTrafficMeter({
  read,
  clock,
}: {
  readonly read: ReadCounters;
  readonly clock: Clock;
}): TrafficMeter {
  let readings = new Map<ListenerKey, Reading>();
  const windows = makeFlowWindows();
  return async (signal, keys) => {
    const counters = await read(signal, keys);
    const nowMs = clock.monotonic();
    const next = keys === undefined ? new Map<ListenerKey, Reading>() : readings;
    const traffic = new Map<ListenerKey, Traffic>();
    for (const [key, now] of counters) {
      const reading = readingOf(readings.get(key), now, nowMs);
      next.set(key, reading);
      const recent = now.packetsIn === undefined ? undefined : windows.note(key, now.total, nowMs);
      traffic.set(key, { ...now, rates: reading.rates, recent });
    }
    if (keys === undefined) windows.keep(counters);
    readings = next; // without listeners that are gone
    return traffic;
  };
}

function readingOf(last: Reading | undefined, counters: Counters, atMs: number): Reading {
  const passedMs = last === undefined ? Infinity : atMs - last.atMs;
  if (last === undefined || passedMs > mostMs || hasRestarted(last.counters, counters))
    return { counters, atMs, rates: undefined };
  if (passedMs < leastMs) return last;
  const rate = (name: 'total' | 'bytesIn' | 'bytesOut'): number =>
    (((counters[name] ?? 0) - (last.counters[name] ?? 0)) * 1000) / passedMs;
  return {
    counters,
    atMs,
    rates: {
      connections: rate('total'),
      bytesIn: rate('bytesIn'),
      bytesOut: counters.bytesOut === undefined ? undefined : rate('bytesOut'),
    },
  };
}

/** A new worker, or a new table, counts from 0. */
function hasRestarted(before: Counters, now: Counters): boolean {
  return now.total < before.total || now.bytesIn < before.bytesIn || (now.bytesOut ?? 0) < (before.bytesOut ?? 0);
}

/** The traffic of each Service that has a listener among `traffic`. */
export function trafficOfServices(
  { listeners }: Pick<TrafficTable, 'listeners'>,
  traffic: ReadonlyMap<ListenerKey, Traffic>,
): ReadonlyMap<ServiceKey, Traffic> {
  const sums = new Map<ServiceKey, Traffic>();
  for (const [key, each] of traffic) {
    const service = listeners.get(key)?.service;
    if (service !== undefined) sums.set(service, plus(sums.get(service), each));
  }
  return sums;
}

/** `undefined` for no parts. */
export function sumTraffic(parts: Iterable<Traffic>): Traffic | undefined {
  let sum: Traffic | undefined;
  for (const part of parts) sum = plus(sum, part);
  return sum;
}

function plus(a: Traffic | undefined, b: Traffic): Traffic {
  if (a === undefined) return b;
  return { ...sumOf(a, b), rates: sumOfRates(a.rates, b.rates), recent: sumOfRecent(a.recent, b.recent) };
}

function sumOfRecent(a: RecentFlows | undefined, b: RecentFlows | undefined): RecentFlows | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return { flows: a.flows + b.flows, seconds: Math.max(a.seconds, b.seconds) };
}

/** Rates that are not known count as none, unless both are unknown. */
function sumOfRates(a: TrafficRates | undefined, b: TrafficRates | undefined): TrafficRates | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return {
    connections: a.connections + b.connections,
    bytesIn: a.bytesIn + b.bytesIn,
    bytesOut: sumOfFigures(a.bytesOut, b.bytesOut),
  };
}
