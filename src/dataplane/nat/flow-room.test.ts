import { expect, test } from 'vitest';
import { recordLog, recordMetrics } from '../../../test/sim/observers.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import { makeFlowRoomWatch, parseFlowRoom } from './flow-room.ts';
import { mostClients } from './ruleset.ts';

const header = 'entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop\n';
const processor = (drop: string): string =>
  `0000000f  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 ${drop} 00000000\n`;

test('the drops of all processors are added', () => {
  const text = `15\n262144\n${header}${processor('0000000a')}${processor('00000010')}`;
  expect(parseFlowRoom(text)).toEqual({ flows: 15, most: 262_144, dropped: 26 });
});

test('a kernel without statistics has dropped nothing', () => {
  expect(parseFlowRoom('15\n262144\n')).toEqual({ flows: 15, most: 262_144, dropped: 0 });
});

function makeScene({ dropped = 0 } = {}) {
  const kernel = { flows: 10, dropped, clients: 0, isBroken: false };
  const exec: Pick<Exec, 'run'> = {
    run: async (_, [option]) => {
      if (kernel.isBroken) throw new ExecError('perl', 1, 'no memory');
      const conntrack = `${kernel.flows}\n100\n${header}${processor(kernel.dropped.toString(16).padStart(8, '0'))}`;
      return { stdout: option === '-ne' ? conntrack : `${kernel.clients}\n0\n`, stderr: '' };
    },
  };
  const [clock, log, metrics, stop] = [virtualClock(), recordLog(), recordMetrics(), new AbortController()];
  const watch = makeFlowRoomWatch({ exec: exec as Exec, clock, log, metrics, isInPlace: () => true });
  watch(stop.signal).catch(() => undefined);
  return {
    kernel,
    metrics,
    look: async (): Promise<readonly string[]> => {
      const before = log.lines.length;
      await clock.advance(30_000);
      return log.lines.slice(before).map(({ message }) => message);
    },
    [Symbol.dispose]: () => stop.abort(),
  };
}

test('conntrack that is full, or drops packets, is reported once, and when it has room again', async () => {
  using scene = makeScene({ dropped: 1_000 }); // from before
  const { kernel, look, metrics } = scene;
  expect(await look()).toEqual([]);
  kernel.flows = 100;
  expect(await look()).toEqual(['tracking new flows failed; retrying']);
  kernel.dropped = 1_007;
  kernel.flows = 99;
  expect(await look()).toEqual([]);
  expect(await look()).toEqual(['tracking new flows works again']);
  expect(metrics.total('furiwake_conntrack_dropped_packets_total')).toBe(7);
  expect(metrics.gaugeOf('furiwake_conntrack_flows')).toBe(99);
  expect(metrics.gaugeOf('furiwake_conntrack_flows_limit')).toBe(100);
});

test('a map of clients that is full is reported', async () => {
  using scene = makeScene();
  const { kernel, look } = scene;
  kernel.clients = mostClients;
  expect(await look()).toEqual(['keeping new clients of nat at their nodes failed; retrying']);
  kernel.clients = 0;
  expect(await look()).toEqual(['keeping new clients of nat at their nodes works again']);
});

test('a kernel that cannot be asked is reported, and asked again', async () => {
  using scene = makeScene();
  const { kernel, look } = scene;
  kernel.isBroken = true;
  expect(await look()).toEqual(['counting the flows in conntrack failed; retrying']);
  kernel.isBroken = false;
  expect(await look()).toEqual(['counting the flows in conntrack works again']);
});
