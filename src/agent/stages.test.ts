import { describe, expect, test } from 'vitest';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { ProxyDownError } from '../ports/proxy.ts';
import { makeStages, type PassStages, type Stage, type StageFailure } from './stages.ts';

const { signal } = new AbortController();
const failed = (words: string, isDown = false): StageFailure => ({ words, isDown });
const done = async (): Promise<void> => undefined;
const failing =
  (words = 'no') =>
  (): Promise<never> =>
    Promise.reject(new Error(words));

function make() {
  const clock = virtualClock();
  const log = recordLog();
  const ends: (readonly [Stage, number, boolean])[] = [];
  let lateEnds = 0;
  const haproxy = { isSlow: false };
  const stages = makeStages({
    isHaproxySlow: () => haproxy.isSlow,
    onEnd: ({ stage, ms, isDone }) => ends.push([stage, ms, isDone]),
    onLateEnd: () => lateEnds++,
    clock,
    log,
  });
  /** A pass with these stages. */
  const pass = async (works: Partial<Record<Stage, () => Promise<unknown>>>, changes = 1) => {
    const attempts = stages.begin();
    const outcomes: Partial<Record<Stage, Awaited<ReturnType<PassStages['attempt']>>>> = {};
    for (const [stage, work] of Object.entries(works) as [Stage, () => Promise<unknown>][])
      outcomes[stage] = await attempts.attempt(stage, work, { changes, signal });
    attempts.end();
    return outcomes;
  };
  return {
    clock,
    log,
    stages,
    haproxy,
    ends,
    failures: () => ends.flatMap(([stage, , isDone]) => (isDone ? [] : stage)),
    lateEnds: () => lateEnds,
    pass,
  };
}

describe('a stage that fails', () => {
  test('is skipped until it is due, and the waits grow until it succeeds', async () => {
    const { clock, stages, pass } = make();
    const waits: number[] = [];
    for (let turn = 0; turn < 20; turn++) {
      expect(await pass({ addresses: failing() })).toEqual({ addresses: { failure: failed('no'), wasTried: true } });
      const waitMs = (stages.dueMs() ?? 0) - clock.monotonic();
      await clock.advance(waitMs - 1);
      expect(stages.begin().areDue).toBe(false);
      expect(await pass({ addresses: done })).toEqual({ addresses: { failure: failed('no'), wasTried: false } });
      await clock.advance(1);
      expect(stages.begin().areDue).toBe(true);
      waits.push(waitMs);
    }
    expect(waits[0]).toBeLessThanOrEqual(200);
    expect(waits.at(-1)).toBeGreaterThan(10_000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(30_000);
    expect(await pass({ addresses: done })).toEqual({ addresses: undefined });
    expect([stages.areDone(), stages.dueMs(), stages.troubles()]).toEqual([true, undefined, []]);
    await pass({ addresses: failing() });
    expect((stages.dueMs() ?? 0) - clock.monotonic()).toBeLessThanOrEqual(200);
  });

  test('has a wait, words and a line of its own, beside another one that fails', async () => {
    const { clock, log, stages, failures, pass } = make();
    await pass({ direct: failing('direct: no'), nat: failing('nat: no') });
    await clock.advance(200);
    await pass({ direct: failing('direct: no'), nat: done });
    expect(stages.troubles()).toEqual(['direct: no']);
    const dueMs = clock.monotonic() + 400;
    expect(stages.dueMs()).toBe(dueMs);
    await clock.advance(100);
    await pass({ direct: failing('direct: no'), nat: failing('nat: no') });
    expect(stages.dueMs()).toBe(clock.monotonic() + 200); // nat has its first wait again, and direct its third
    expect(stages.troubles()).toEqual(['direct: no', 'nat: no']);
    expect(failures()).toEqual(['direct', 'nat', 'direct', 'nat']);
    expect(log.lines.map(({ message }) => message)).toEqual([
      'programming the table of direct failed; retrying',
      'programming the table of nat failed; retrying',
      'programming the table of nat works again',
      'programming the table of nat failed; retrying',
    ]);
  });

  test('is attempted once in a pass', async () => {
    const { stages } = make();
    let count = 0;
    const attempts = stages.begin();
    for (let time = 0; time < 2; time++)
      expect(
        await attempts.attempt(
          'nat',
          () => {
            count++;
            return failing()();
          },
          { changes: 0, signal },
        ),
      ).toEqual({ failure: failed('no'), wasTried: true });
    expect(count).toBe(1);
  });

  test('that a pass does not reach, because another one fails, has no wait of its own, and follows that one', async () => {
    const { clock, stages, pass } = make();
    await pass({ proxy: done, pruning: failing('pruning: no') });
    await clock.advance(200);
    await pass({ proxy: failing('proxy: no') });
    await clock.advance(100);
    expect([stages.begin().areDue, stages.dueMs()]).toEqual([false, clock.monotonic() + 100]);
    expect(stages.troubles()).toEqual(['proxy: no', 'pruning: no']);
    await clock.advance(100);
    expect(await pass({ proxy: done, pruning: done })).toEqual({ proxy: undefined, pruning: undefined });
    expect(stages.areDone()).toBe(true);
  });

  test('is attempted by a pass in a hurry, and only by that one', async () => {
    const { stages, pass } = make();
    await pass({ addresses: failing() });
    stages.hurry();
    expect(await pass({ addresses: failing() })).toMatchObject({ addresses: { wasTried: true } });
    expect(await pass({ addresses: failing() })).toMatchObject({ addresses: { wasTried: false } });
  });

  test('is never skipped if it is steering: all changes wait for it, and for no other stage', async () => {
    const { clock, stages, pass } = make();
    const others: readonly Stage[] = ['proxy', 'direct', 'nat', 'addresses', 'pruning', 'connections', 'removal'];
    await pass(Object.fromEntries(others.map((stage) => [stage, failing()])));
    expect(stages.blockage()).toBe(undefined);
    await pass({ steering: failing() });
    await clock.advance(100);
    expect(await pass({ steering: failing() })).toMatchObject({ steering: { wasTried: true } });
    expect(stages.blockage()).toEqual({ words: 'no' });
    expect(stages.dueMs()).toBe(clock.monotonic() + 400);
  });
});

describe('a stage that is slow', () => {
  test.each([
    ['proxy', 1, 1_000, 'HAProxy'],
    ['pruning', 1, 1_000, 'HAProxy'],
    ['steering', 1, 5_000, 'nft'],
    ['direct', 1, 1_000, 'nft'],
    ['nat', 1, 1_000, 'nft'],
    ['addresses', 1, 1_000, 'the kernel'],
    ['connections', 1, 1_000, 'the kernel'],
    ['removal', 1, 1_000, 'the kernel'],
    ['addresses', 3_000, 3_000, 'the kernel'],
    ['steering', 3_000, 5_000, 'nft'],
  ] as const)(
    '%s, for %i listeners: the pass proceeds after %i ms, and the next ones skip it until it ends',
    async (stage, changes, patienceMs, tool) => {
      const { clock, log, stages, ends, lateEnds, pass } = make();
      const slow = Promise.withResolvers<void>();
      const first = pass({ [stage]: () => slow.promise }, changes);
      await clock.advance(patienceMs - 1);
      expect(stages.isUnsettled(stage)).toBe(false);
      await clock.advance(1);
      expect(await first).toEqual({ [stage]: { failure: undefined, wasTried: true } });
      expect([stages.isUnsettled(stage), stages.troubles()]).toEqual([true, [`${tool} has not answered yet`]]);
      await clock.advance(60_000);
      expect([stages.begin().areDue, stages.dueMs()]).toEqual([false, undefined]);
      expect(await pass({ [stage]: failing() })).toEqual({ [stage]: { failure: undefined, wasTried: false } });
      slow.resolve();
      await clock.advance(0);
      expect([stages.isUnsettled(stage), stages.begin().areDue, lateEnds()]).toEqual([true, true, 1]);
      expect(await pass({ [stage]: done })).toEqual({ [stage]: undefined });
      expect(stages.isUnsettled(stage)).toBe(false);
      expect([stages.areDone(), log.lines]).toEqual([true, []]);
      expect(ends).toEqual([
        [stage, patienceMs + 60_000, true],
        [stage, 0, true],
      ]);
    },
  );

  test('and fails in the end is a stage that failed; the next attempt has its words from the start', async () => {
    const { clock, log, stages, failures, lateEnds, pass } = make();
    for (const waitMs of [200, 400]) {
      const slow = Promise.withResolvers<void>();
      const attempt = pass({ proxy: () => slow.promise });
      await clock.advance(1_000);
      expect((await attempt).proxy?.failure?.words).toBe(waitMs === 200 ? undefined : 'no answer');
      slow.reject(new Error('no answer'));
      await clock.advance(0);
      expect([stages.dueMs(), stages.troubles()]).toEqual([clock.monotonic() + waitMs, ['no answer']]);
      await clock.advance(waitMs);
    }
    expect([failures(), lateEnds()]).toEqual([['proxy', 'proxy'], 2]);
    expect(log.lines.map(({ message }) => message)).toEqual(['programming HAProxy failed; retrying']);
  });

  test('keeps its last failure until an attempt ends in time, also when one has ended late', async () => {
    const { clock, stages, pass } = make();
    const failure = failed('HAProxy hangs', true);
    const down = (): Promise<never> => Promise.reject(new ProxyDownError('HAProxy hangs'));
    expect(await pass({ proxy: down })).toEqual({ proxy: { failure, wasTried: true } });
    for (let turn = 0; turn < 2; turn++) {
      await clock.advance(200);
      const slow = Promise.withResolvers<void>();
      const attempt = pass({ proxy: () => slow.promise });
      await clock.advance(1_000);
      expect(await attempt).toEqual({ proxy: { failure, wasTried: true } });
      expect(await pass({ proxy: done })).toEqual({ proxy: { failure, wasTried: false } });
      expect(stages.troubles()).toEqual(['HAProxy hangs']);
      slow.resolve();
      await clock.advance(0);
      expect(stages.troubles()).toEqual(['HAProxy hangs']);
    }
    expect(await pass({ proxy: done })).toEqual({ proxy: undefined });
  });

  test('is not slow when furiwake ends: the pass rejects', async () => {
    const { clock, stages } = make();
    const stop = new AbortController();
    const attempt = stages.begin().attempt('proxy', () => Promise.withResolvers<void>().promise, {
      changes: 0,
      signal: stop.signal,
    });
    stop.abort(new Error('the end'));
    await expect(attempt).rejects.toThrow('the end');
    expect(clock.monotonic()).toBe(0);
  });

  test('and fails late is not waited for again before it is done in time', async () => {
    const { clock, pass } = make();
    const slow = Promise.withResolvers<void>();
    const first = pass({ nat: () => slow.promise });
    await clock.advance(1_000);
    await first;
    slow.reject(new Error('nft: no answer within 30 s'));
    await clock.advance(1_000);
    const hanging = Promise.withResolvers<void>();
    const second = pass({ nat: () => hanging.promise });
    await clock.advance(0);
    expect(await second).toEqual({ nat: { failure: failed('nft: no answer within 30 s'), wasTried: true } });
    hanging.resolve();
    await clock.advance(0);
    const third = pass({ nat: () => clock.sleep(999, signal) });
    await clock.advance(999);
    expect(await third).toEqual({ nat: undefined });
  });

  test('and ends well each time gets the time that it needs', async () => {
    const { clock, pass } = make();
    const results: unknown[] = [];
    for (let turn = 0; turn < 4; turn++) {
      const result = pass({ steering: () => clock.sleep(18_000, signal) });
      await clock.advance(18_000);
      results.push((await result).steering);
      await clock.advance(200); // the wait after the second one
    }
    const late = { failure: undefined, wasTried: true };
    expect(results).toEqual([late, late, undefined, undefined]);
  });

  test('and ends late and well again and again is repeated after waits that grow', async () => {
    const { clock, stages, pass } = make();
    const waits: number[] = [];
    for (let turn = 0; turn < 4; turn++) {
      const result = pass({ nat: () => clock.sleep(60_000, signal) }); // longer than any pass waits
      await clock.advance(60_000);
      await result;
      const waitMs = (stages.dueMs() ?? 0) - clock.monotonic();
      waits.push(waitMs);
      await clock.advance(waitMs);
    }
    expect(waits).toEqual([0, 200, 400, 800]);
  });

  test('costs each other stage of its tool a fifth of a second, and those of other tools nothing', async () => {
    const { clock, pass } = make();
    const hang = (): Promise<void> => Promise.withResolvers<void>().promise;
    const first = pass({ direct: hang });
    await clock.advance(1_000);
    await first;
    let isOver = false;
    const next = pass({ nat: hang, addresses: () => clock.sleep(900, signal) }).finally(() => (isOver = true));
    await clock.advance(200 + 899);
    expect(isOver).toBe(false);
    await clock.advance(1);
    expect(await next).toEqual({ nat: { failure: undefined, wasTried: true }, addresses: undefined });
  });

  test('is not waited for while HAProxy is known to be slow', async () => {
    const { clock, haproxy, pass } = make();
    haproxy.isSlow = true;
    const slow = Promise.withResolvers<void>();
    const both = pass({ proxy: () => slow.promise, pruning: () => slow.promise });
    await clock.advance(0);
    expect(Object.values(await both).map((each) => each?.wasTried)).toEqual([true, true]);
  });
});
