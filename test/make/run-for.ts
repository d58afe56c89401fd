import type { VirtualClock } from '../sim/virtual-clock.ts';

/** Runs a part of the program for this long, and ends it. */
export async function runFor(
  part: { run(signal: AbortSignal): Promise<void> },
  clock: VirtualClock,
  ms = 0,
): Promise<void> {
  const stop = new AbortController();
  const ended = part.run(stop.signal).catch(() => undefined); // only that it was aborted
  await clock.advance(ms);
  stop.abort();
  await ended;
}
