import { describe, expect, test } from 'vitest';
import { makeTestLog } from '../../../test/make/log.ts';
import { type VirtualClock, virtualClock } from '../../../test/sim/virtual-clock.ts';
import { guard } from './guard.ts';

type Watch = (round: number, clock: VirtualClock, signal: AbortSignal) => AsyncIterable<string>;

/** Runs `guard` for so long; what it reacted to, with the time, and what it logged. */
async function run(
  watch: Watch,
  ms: number,
  react: (event: string | undefined) => string | undefined = () => undefined,
): Promise<{ readonly reactions: readonly string[]; readonly lines: readonly string[] }> {
  const clock = virtualClock();
  const ending = new AbortController();
  const { log, records } = makeTestLog();
  const reactions: string[] = [];
  let round = 0;
  const running = guard<string>({
    watch: () => watch(round++, clock, ending.signal),
    react: async (event) => {
      reactions.push(`${clock.monotonic()} ${event ?? 'again'}`);
      return react(event);
    },
    clock,
    log,
    signal: ending.signal,
  });
  await clock.advance(ms);
  ending.abort();
  await running;
  return { reactions, lines: records.map(({ message }) => message) };
}

/** Watches that end at once after these events. */
const ending = (eventsOf: (round: number) => readonly string[]): Watch =>
  async function* (round) {
    yield* eventsOf(round);
  };
/** A watch with an event every so often. */
const every = (ms: number): Watch =>
  async function* (_, clock, signal) {
    for (;;) {
      yield 'event';
      await clock.sleep(ms, signal);
    }
  };

describe('watching', () => {
  test('reacts to every event', async () => {
    const { reactions } = await run(
      ending((round) => (round === 0 ? ['a', 'b'] : [])),
      0,
    );
    expect(reactions).toEqual(['0 a', '0 b']);
  });

  test.each<[string, Watch]>([
    ['at once', ending(() => [])],
    ['after its first event', ending(() => ['a'])],
  ])(
    'that ends %s looks itself and watches again, after ever longer pauses, and is logged rarely',
    async (_, watch) => {
      const { reactions, lines } = await run(watch, 3_600_000);
      const again = reactions.filter((reaction) => reaction.endsWith('again'));
      expect(again.slice(0, 5)).toEqual(['1000 again', '3000 again', '7000 again', '15000 again', '31000 again']);
      expect(again.length).toBeLessThan(70);
      expect(lines.length).toBeLessThan(8);
    },
  );

  test('that lasted a minute begins again after a second', async () => {
    const { reactions } = await run(async function* (round, clock, signal) {
      if (round === 3) await clock.sleep(60_000, signal);
      yield* [];
    }, 69_000);
    expect(reactions).toEqual(['1000 again', '3000 again', '7000 again', '68000 again']);
  });
});

describe('a repair', () => {
  test('that fails is tried again after growing waits', async () => {
    const { reactions } = await run(every(1_000), 16_000, () => {
      throw new Error('no');
    });
    expect(reactions).toEqual(['0 event', '1000 again', '3000 again', '7000 again', '15000 again']);
  });

  test('that another program always reverts is paced, and logged rarely', async () => {
    const { reactions, lines } = await run(every(1), 3_600_000, () => 'the table is gone');
    expect(reactions.length).toBeLessThan(3_600 / 5 + 10);
    expect(lines.length).toBeLessThan(12);
  });

  test('after a calm minute is followed by a short pause again', async () => {
    const { reactions } = await run(
      async function* (_, clock, signal) {
        yield* ['bad', 'bad', 'bad', 'bad'];
        await clock.sleep(60_000, signal);
        yield* ['bad', 'good'];
      },
      62_000,
      (event) => (event === 'bad' ? 'the table is gone' : undefined),
    );
    expect(reactions).toEqual(['0 bad', '100 bad', '300 bad', '700 bad', '61500 bad', '61600 good']);
  });
});
