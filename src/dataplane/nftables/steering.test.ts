import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { silent } from '../../../test/make/log.ts';
import { listener, tableOf as makeTable } from '../../../test/make/table.ts';
import { type Listening, tableOf, targetOf } from '../../../test/netns/steering-rig.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { emptyTable, type TrafficTable } from '../../core/traffic/table.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import type { Refusals, Steering } from '../../ports/host.ts';
import { makeSteering } from './steering.ts';

const { signal } = new AbortController();
const listing = JSON.stringify({ nftables: [{ chain: { name: 'classify' } }] });

type FakeKernel = {
  readonly steering: Steering;
  /** What it took. */
  readonly sent: string[];
  /** Transactions that it took or refused. */
  attempts: number;
};

/** A kernel that takes the texts that `takes` accepts. With `hasSession` the nft process that is kept works, too. */
function fakeKernel(takes: (text: string) => boolean, hasSession = false): FakeKernel {
  const sent: string[] = [];
  const kernel: { attempts: number } = { attempts: 0 };
  const refusal = new ExecError('nft', 1, '/dev/stdin:7:1-3: Error: no such thing\n');
  const transact = (text: string): boolean => {
    kernel.attempts++;
    const isTaken = takes(text);
    if (isTaken) sent.push(text);
    return isTaken;
  };
  const exec: Exec = {
    run: async (file, args, { stdin = '' }) => {
      if (file === 'ip') return { stdout: '[{"type":"local","table":"8192"}]', stderr: '' };
      if (!args.includes('--file')) return { stdout: listing, stderr: '' };
      if (!transact(stdin)) throw refusal;
      return { stdout: '', stderr: '' };
    },
    converse: () => {
      const output = new PassThrough();
      return {
        pid: 1,
        write: async (text) => {
          if (!hasSession) throw refusal;
          const generation = Number(/add element inet furiwake generation \{ (0x[0-9a-f]+) \}/.exec(text)?.[1]);
          const isTaken = transact(text);
          if (isTaken) output.write(`${JSON.stringify({ nftables: [{ set: { elem: [generation] } }] })}\n`);
          output.write('meta expression\n');
        },
        lines: createInterface({ input: output }),
        takeErrors: () => 'Error: no such thing',
        exited: new Promise(() => undefined),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      };
    },
  };
  const metrics = {
    counter: () => ({ add: () => undefined }),
    gauge: () => ({ set: () => undefined, remove: () => undefined }),
    histogram: () => ({ observe: () => undefined }),
  };
  const steering = makeSteering({ exec, clock: virtualClock(), log: silent, metrics, lifetime: signal });
  return Object.assign(kernel, { steering, sent });
}

const apply = (steering: Steering, table: Pick<TrafficTable, 'listeners'>): Promise<Refusals<ListenerKey>> =>
  steering.apply(targetOf(table), signal);
const one: Listening = ['192.0.2.1', 80];
const other: Listening = ['192.0.2.2', 80];
const many = (count: number): readonly Listening[] => Array.from({ length: count }, (_, i) => ['192.0.2.1', 100 + i]);

test('a change that the kept nft refuses becomes a replacement of the whole table', async () => {
  const { steering, sent } = fakeKernel(() => true);
  await apply(steering, tableOf([one]));
  await apply(steering, tableOf([one, other]));
  expect(sent).toHaveLength(2);
  expect(sent[1]).toContain('delete table inet furiwake');
  expect(sent[1]).toContain('192.0.2.2 . 80 : 10000');
});

test('a listener that nft refuses says why, and what was in force stays', async () => {
  const { steering, sent } = fakeKernel((text) => !text.includes('192.0.2.2'));
  await apply(steering, tableOf([one]));
  const refused = await apply(steering, tableOf([one, other]));
  expect([...refused]).toEqual([['192.0.2.2|80|TCP', 'nft: Error: no such thing']]);
  expect(sent.at(-1)).toContain('192.0.2.1');
  expect(await apply(steering, tableOf([one]))).toEqual(new Map());
});

test.each([1, 3, 10])(
  'of 200 listeners nft refuses %i: all others are in force, with few transactions',
  async (count) => {
    const bad = new Set(Array.from({ length: count }, (_, i) => `192.0.2.1 . ${100 + 19 * i} :`));
    const kernel = fakeKernel((text) => ![...bad].some((element) => text.includes(element)), true);
    await apply(kernel.steering, tableOf([['192.0.2.9', 80]]));
    kernel.attempts = 0;
    const refused = await apply(kernel.steering, tableOf([['192.0.2.9', 80], ...many(200)]));
    expect([...refused.keys()].toSorted()).toEqual(
      Array.from(bad, (element) => `192.0.2.1|${element.split(' ')[2]}|TCP`).toSorted(),
    );
    // Each refused listener costs a refusal and a replacement at each level of the halving, and the accepted half.
    expect(kernel.attempts).toBeLessThan(4 + count * 3 * (Math.log2(200) + 1));
    const sent = kernel.sent.join('\n');
    for (const [, port] of many(200))
      expect(sent.includes(`192.0.2.1 . ${port} :`)).toBe(!bad.has(`192.0.2.1 . ${port} :`));
  },
);

test('nft that takes nothing at all is an error, and an audit puts back what was in force', async () => {
  let isBroken = false;
  const { steering, sent } = fakeKernel(() => !isBroken);
  await apply(steering, tableOf([one]));
  isBroken = true;
  await expect(apply(steering, tableOf([one, other]))).rejects.toThrow(ExecError);
  isBroken = false;
  expect(await steering.audit(signal)).toBe(1);
  expect(sent.map((text) => text.includes('192.0.2.2'))).toEqual([false, false]);
});

test('nothing is written, and nothing repaired, before the first table', async () => {
  const { steering, sent } = fakeKernel(() => true);
  expect(await steering.audit(signal)).toBe(0);
  expect(sent).toEqual([]);
});

test('a UDP listener is refused and stops no other', async () => {
  const { steering, sent } = fakeKernel(() => true);
  const udp = listener('192.0.2.2', 53, 30_000, { protocol: 'UDP' });
  const refused = await apply(steering, makeTable([udp, listener('192.0.2.1', 80, 30_000)]));
  expect([...refused.keys()]).toEqual([udp.key]);
  expect(sent.at(-1)).toContain('192.0.2.1 . 80');
});

test('removing very many source ranges replaces the table instead, which the kernel does faster', async () => {
  const ranges = Array.from({ length: 600 }, (_, i) => `10.${i >> 8}.${i & 255}.1`);
  const { steering, sent } = fakeKernel(() => true);
  await apply(steering, tableOf([['192.0.2.1', 80, ranges]]));
  await apply(steering, tableOf([one]));
  expect(sent[1]).toContain('delete table');
});

test('an emptied table is replaced, too', async () => {
  const { steering, sent } = fakeKernel(() => true);
  await apply(steering, tableOf([one]));
  await apply(steering, emptyTable);
  expect(sent.at(-1)).not.toContain('192.0.2.1');
});
