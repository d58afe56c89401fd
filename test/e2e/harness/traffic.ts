import path from 'node:path';
import type { Host } from '../../../lab/network/host.ts';
import { eventually } from './eventually.ts';
import type { Totals } from './traffic-source.ts';

/** Requests and held connections during a test, until it disposes of them. */
export type Traffic = AsyncDisposable & {
  /** The totals so far. */
  totals(): Totals;
  /** The totals after `count` more requests have finished. */
  after(count: number): Promise<Totals>;
};

export type TrafficWanted = { readonly perSecond?: number; readonly held?: number };

const source = path.join(import.meta.dirname, 'traffic-source.ts');

/** Starts it on `host`; resolves when the first request and every held connection have been answered. */
export async function startTraffic(
  host: Host,
  url: string,
  { perSecond = 20, held = 3 }: TrafficWanted = {},
): Promise<Traffic> {
  const ending = new AbortController();
  const lines = host.lines([process.execPath, source, url, String(perSecond), String(held)], ending.signal);
  let last: Totals | undefined;
  const reading = (async () => {
    for await (const line of lines) last = JSON.parse(line) as Totals;
  })().catch((error: unknown) => {
    if (!ending.signal.aborted) throw error;
  });
  const totals = (): Totals => {
    if (last !== undefined) return last;
    throw new Error('no traffic yet');
  };
  const after = async (count: number): Promise<Totals> => {
    const from = totals().asked;
    return eventually(() => {
      const now = totals();
      if (now.asked < from + count) throw new Error(`only ${now.asked - from} of ${count} requests finished`);
      return now;
    }, 60_000);
  };
  await eventually(() => {
    const { asked, holding, heard } = totals();
    if ((perSecond > 0 && asked === 0) || holding < held || heard < held) throw new Error('traffic has not begun');
  });
  return {
    totals,
    after,
    [Symbol.asyncDispose]: async () => {
      ending.abort();
      await reading;
    },
  };
}
