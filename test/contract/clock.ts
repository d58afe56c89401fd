import { describe, expect, test } from 'vitest';
import type { Clock } from '../../src/ports/clock.ts';

/** A clock, and how time passes until a promise has settled. `early`: a timer may end so many of its ms before time. */
export type ClockScene = {
  readonly clock: Clock;
  readonly early: number;
  readonly drive: <T>(promise: Promise<T>) => Promise<T>;
};

const { signal } = new AbortController();
const reason = new Error('shutting down');

/** The contract of every implementation of the port. */
export function clockContract(name: string, makeScene: () => ClockScene): void {
  describe(`clock contract: ${name}`, () => {
    test('a sleep takes its time, and one of no time ends at once', async () => {
      const { clock, early, drive } = makeScene();
      const [before, wallBefore] = [clock.monotonic(), clock.now()];
      await drive(clock.sleep(20, signal));
      const passed = [clock.monotonic() - before, clock.now() - wallBefore];
      expect(Math.min(...passed)).toBeGreaterThanOrEqual(20 - early);
      for (const ms of [0, -1]) await clock.sleep(ms, signal);
    });

    test.each([2 ** 31, 2 ** 40, Infinity])('a sleep and a deadline of %d ms do not end at once', async (ms) => {
      const { clock, drive } = makeScene();
      const stop = new AbortController();
      using deadline = clock.deadline(ms, stop.signal);
      const long = clock.sleep(ms, stop.signal).then(() => 'long');
      expect(await drive(Promise.race([long, clock.sleep(20, signal).then(() => 'short')]))).toBe('short');
      expect(deadline.signal.aborted).toBe(false);
      stop.abort(reason);
      await expect(long).rejects.toBe(reason);
    });

    test('an aborted sleep rejects at once with the reason, and so does one that begins later', async () => {
      const { clock } = makeScene();
      const stop = new AbortController();
      const asleep = clock.sleep(60_000, stop.signal);
      stop.abort(reason);
      await expect(asleep).rejects.toBe(reason);
      await expect(clock.sleep(60_000, stop.signal)).rejects.toBe(reason);
      await expect(clock.sleep(0, stop.signal)).rejects.toBe(reason);
    });

    test('a deadline aborts at its time, with a TimeoutError', async () => {
      const { clock, drive } = makeScene();
      using deadline = clock.deadline(20, signal);
      await expect(drive(clock.sleep(60_000, deadline.signal))).rejects.toMatchObject({ name: 'TimeoutError' });
    });

    test('a deadline aborts with its outer signal, also with one that has aborted before', async () => {
      const { clock } = makeScene();
      const stop = new AbortController();
      using deadline = clock.deadline(60_000, stop.signal);
      stop.abort(reason);
      using late = clock.deadline(60_000, stop.signal);
      expect([deadline.signal.reason, late.signal.reason]).toEqual([reason, reason]);
    });

    test('a deadline that is disposed of aborts no more', async () => {
      const { clock, drive } = makeScene();
      const stop = new AbortController();
      const deadlines = [clock.deadline(10, stop.signal), clock.deadline(60_000, stop.signal)];
      for (const deadline of deadlines) deadline[Symbol.dispose]();
      await drive(clock.sleep(20, signal));
      stop.abort(reason);
      expect(deadlines.map((deadline) => deadline.signal.aborted)).toEqual([false, false]);
    });
  });
}
