import { expect, test } from 'vitest';
import { elementAnswer } from '../../../../test/make/element-answer.ts';
import { recordLog, recordMetrics } from '../../../../test/sim/observers.ts';
import { virtualClock } from '../../../../test/sim/virtual-clock.ts';
import { type Exec, ExecError } from '../../../ports/exec.ts';
import { makePinWatch } from './pin-watch.ts';
import { mostPins } from './ruleset.ts';

/** A watch of a kernel with so many pins, in which so many packets found no room; `undefined`: perl fails. */
function makeScene(): {
  readonly kernel: { pins: number | undefined; overflow: number; spoofed: number };
  readonly look: () => Promise<readonly string[]>;
  /** The words of the last failure. */
  readonly words: () => string;
  readonly metrics: ReturnType<typeof recordMetrics>;
  readonly [Symbol.dispose]: () => void;
} {
  const kernel = { pins: 0 as number | undefined, overflow: 0, spoofed: 0 };
  const answerOf = (set: 'overflow' | 'spoofed'): string =>
    elementAnswer(set, { '01000000': { packets: kernel[set], bytes: 0 } }).toString('hex');
  const exec: Pick<Exec, 'run'> = {
    run: async (_file, _args, { stdin }) => {
      if (kernel.pins === undefined) throw new ExecError('perl', 1, 'netlink: no');
      return {
        stdout: stdin === undefined ? `${kernel.pins}\n0\n` : `${answerOf('overflow')}\n${answerOf('spoofed')}\n`,
        stderr: '',
      };
    },
  };
  const [clock, log, metrics, stop] = [virtualClock(), recordLog(), recordMetrics(), new AbortController()];
  const watch = makePinWatch({ exec: exec as Exec, clock, log, metrics, isInPlace: () => true });
  watch(stop.signal).catch(() => undefined);
  let seen = 0;
  return {
    kernel,
    metrics,
    words: () => String(log.lines.findLast(({ fields }) => 'err' in fields)?.fields['err']),
    look: async () => {
      await clock.advance(30_000);
      const messages = log.lines.slice(seen).map(({ message }) => message);
      seen = log.lines.length;
      return messages;
    },
    [Symbol.dispose]: () => stop.abort(),
  };
}

const full = 'keeping the flows of direct at their nodes';

test('a full map is reported once, and when it has room again', async () => {
  using scene = makeScene();
  const { kernel, look, metrics } = scene;
  expect(await look()).toEqual([]);
  Object.assign(kernel, { pins: mostPins, overflow: 7 });
  expect(await look()).toEqual([`${full} failed; retrying`]);
  kernel.overflow = 9;
  expect(await look()).toEqual([]);
  expect(await look()).toEqual([]); // still full, although no packet has found no room since
  kernel.pins = 10;
  expect(await look()).toEqual([`${full} works again`]);
  expect(metrics.gaugeOf('furiwake_direct_pins_limit')).toBe(mostPins);
  expect(metrics.total('furiwake_direct_unpinned_packets_total')).toBe(9);
});

test('a full map, and flows that the kernel could not note while a map has room, are two things', async () => {
  using scene = makeScene();
  const { kernel, look, words } = scene;
  await look();
  Object.assign(kernel, { pins: 184, overflow: 297 });
  expect(await look()).toEqual([`${full} failed; retrying`]);
  expect(words()).toMatch(/^many new flows at once/);
  expect(await look()).toEqual([`${full} works again`]);
  Object.assign(kernel, { pins: mostPins, overflow: 300 });
  expect(await look()).toEqual([`${full} failed; retrying`]);
  expect(words()).toMatch(/^no room for more than 262144/);
});

test('packets from impossible sources are counted', async () => {
  using scene = makeScene();
  const { kernel, look, metrics } = scene;
  await look();
  kernel.spoofed = 5;
  expect(await look()).toEqual([]);
  kernel.spoofed = 8;
  expect(await look()).toEqual([]);
  expect(metrics.total('furiwake_direct_spoofed_packets_total')).toBe(8);
});

test('what the table of an earlier process has counted is not reported again', async () => {
  using scene = makeScene();
  const { kernel, look, metrics } = scene;
  Object.assign(kernel, { pins: 184, overflow: 116_528, spoofed: 12 });
  expect(await look()).toEqual([]);
  expect(metrics.total('furiwake_direct_unpinned_packets_total')).toBe(0);
  expect(metrics.total('furiwake_direct_spoofed_packets_total')).toBe(0);
  kernel.overflow += 3;
  expect(await look()).toEqual([`${full} failed; retrying`]);
  expect(metrics.total('furiwake_direct_unpinned_packets_total')).toBe(3);
});

test('a new table counts from 0', async () => {
  using scene = makeScene();
  const { kernel, look, metrics } = scene;
  await look();
  kernel.overflow = 7;
  await look();
  kernel.overflow = 2;
  await look();
  expect(metrics.total('furiwake_direct_unpinned_packets_total')).toBe(9);
});

test('a kernel that cannot be asked is reported, and asked again', async () => {
  using scene = makeScene();
  const { kernel, look } = scene;
  kernel.pins = undefined;
  expect(await look()).toEqual(['counting the flows that direct keeps at their nodes failed; retrying']);
  kernel.pins = 1;
  expect(await look()).toEqual(['counting the flows that direct keeps at their nodes works again']);
});
