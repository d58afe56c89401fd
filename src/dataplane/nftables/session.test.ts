import { PassThrough } from 'node:stream';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import type { Exec } from '../../ports/exec.ts';
import { steeringTable } from './ruleset.ts';
import { makeNftSession } from './session.ts';

const { signal } = new AbortController();
const holds = (generation: number): string => JSON.stringify({ nftables: [{ set: { elem: [generation] } }] });
const end = 'meta expression, datatype mark (packet mark) (basetype integer), 32 bits';

/** An nft that answers each change with these lines, or dies without an answer. */
function fakeNft(answers: readonly (readonly string[] | 'silence' | 'death')[]): { exec: Exec; started: () => number } {
  let started = 0;
  let asked = 0;
  const exec: Exec = {
    run: () => Promise.reject(new Error('not used')),
    spawn: () => {
      started++;
      const output = new PassThrough();
      return {
        pid: 100 + started,
        write: () => {
          const answer = answers[asked++] ?? 'silence';
          if (answer === 'death') output.end();
          else if (answer !== 'silence') output.write(answer.map((line) => `${line}\n`).join(''));
          return Promise.resolve();
        },
        lines: createInterface({ input: output }),
        takeErrors: async () => 'Error: No such file or directory',
        exited: Promise.resolve(0),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      };
    },
  };
  return { exec, started: () => started };
}

test('a change is made when nft answers with its generation, and the process stays', async () => {
  const { exec, started } = fakeNft([
    [holds(1), end],
    [holds(2), end],
  ]);
  const session = makeNftSession({ table: steeringTable, exec, clock: virtualClock(), lifetime: signal });
  await session.commit('add element …', 1, signal);
  await session.commit('add element …', 2, signal);
  expect(started()).toBe(1);
});

test.each<[string, readonly string[] | 'death']>([
  ['another generation is in force', [holds(1), end]],
  ['there is no such table', [end]],
  ['the generation is missing in the set', [JSON.stringify({ nftables: [{ set: {} }] }), end]],
  ['nft ended', 'death'],
])('a change is refused with the message of nft when %s, and the next one goes to a new process', async (_, answer) => {
  const { exec, started } = fakeNft([answer, [holds(3), end]]);
  const session = makeNftSession({ table: steeringTable, exec, clock: virtualClock(), lifetime: signal });
  await expect(session.commit('add element …', 2, signal)).rejects.toThrow('No such file or directory');
  await session.commit('add element …', 3, signal);
  expect(started()).toBe(2);
});

test('a silent nft is replaced after five seconds', async () => {
  const clock = virtualClock();
  const { exec } = fakeNft(['silence']);
  const session = makeNftSession({ table: steeringTable, exec, clock, lifetime: signal });
  const committed = session.commit('add element …', 1, signal);
  await expect(clock.drive(committed)).rejects.toThrow('deadline');
  expect(clock.monotonic()).toBe(5000);
});

test('an aborted call gets the reason of its signal', async () => {
  const { exec } = fakeNft(['silence']);
  const session = makeNftSession({ table: steeringTable, exec, clock: virtualClock(), lifetime: signal });
  const caller = new AbortController();
  const committed = session.commit('add element …', 1, caller.signal);
  caller.abort(new Error('enough'));
  await expect(committed).rejects.toThrow('enough');
});

test('a process is replaced before it has kept too many lines', async () => {
  const { exec, started } = fakeNft(Array.from({ length: 5001 }, (_, generation) => [holds(generation), end]));
  const session = makeNftSession({ table: steeringTable, exec, clock: virtualClock(), lifetime: signal });
  for (let generation = 0; generation < 5000; generation++) await session.commit('add element …', generation, signal);
  expect(started()).toBe(1);
  await session.commit('add element …', 5000, signal);
  expect(started()).toBe(2);
});

test('a line whose outcome does not matter goes to the same process, whose message of a refusal is not that of the next change', async () => {
  const { exec, started } = fakeNft([[end], [holds(1), end]]);
  const session = makeNftSession({ table: steeringTable, exec, clock: virtualClock(), lifetime: signal });
  await session.send('create table …', signal);
  await session.commit('add element …', 1, signal);
  expect(started()).toBe(1);
});
