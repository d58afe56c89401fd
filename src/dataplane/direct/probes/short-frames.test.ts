import { test } from 'vitest';
import { addressOf } from '../../../../test/make/table.ts';
import type { Exec } from '../../../ports/exec.ts';
import { systemClock } from '../../../main/node/clock.ts';
import { makeAnswerProbe } from './answer-probe.ts';
import { makeMtuProbe } from './mtu-probe.ts';

/** Perl that receives these frames, in hex, while it probes. */
function execThatReceives(frames: readonly string[]): Exec {
  return {
    run: () => Promise.reject(new Error('not run')),
    spawn: (_file, _args, signal) => ({
      pid: 1,
      write: async () => undefined,
      lines: (async function* () {
        yield 'ready';
        yield* frames;
        if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      })(),
      takeErrors: async () => '',
      exited: Promise.resolve(undefined),
      [Symbol.asyncDispose]: async () => undefined,
    }),
  };
}

const path = {
  link: { index: 2, mac: '02:00:00:00:00:01', mtu: 1500, address: addressOf('192.0.2.2') },
  nodeMac: '02:00:00:00:00:02',
  nodeAddress: addressOf('192.0.2.11'),
  vip: addressOf('203.0.113.10'),
  port: 53,
};
const ethernet = '020000000001020000000002';
const ip4 = 'c0000201c0000202';
const shortFrames = [
  ['an ARP request', `${ethernet}0806${'00'.repeat(28)}`],
  ['IPv4 without a segment', `${ethernet}08004500${'00'.repeat(10)}${ip4}`],
  ['IPv4 with options alone', `${ethernet}08004f00${'00'.repeat(10)}${ip4}${'00'.repeat(40)}`],
  ['IPv6 without a segment', `${ethernet}86dd6000${'00'.repeat(38)}`],
  ['IPv6 with a fragment header alone', `${ethernet}86dd6000000000082c${'00'.repeat(41)}`],
  ['nothing', ''],
] as const;

test.concurrent.for(shortFrames)('%s does not end a probe', async ([, frame], { expect }) => {
  const { signal } = new AbortController();
  const deps = { exec: execThatReceives([frame]), clock: systemClock };
  const [answers, mtus] = await Promise.all([
    makeAnswerProbe(deps)([path], signal),
    makeMtuProbe(deps)([path], signal),
  ]);
  expect([answers.answered.size, answers.crossing.size, mtus.size]).toEqual([0, 0, 0]);
});
