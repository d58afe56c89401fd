import { expect, test } from 'vitest';
import { elementAnswer } from '../../../test/make/element-answer.ts';
import { parseIp } from '../../core/ip/ip.ts';
import type { Exec } from '../../ports/exec.ts';
import { type ElementCounter, readElementCounters } from './element-counters.ts';
import { classKey, listenerAddressKey } from './element-keys.ts';

const { signal } = new AbortController();
const table = { name: 'inet t', family: 1 };
const [one, other] = [
  { packets: 3, bytes: 7 * 2 ** 32 + 1 },
  { packets: 1, bytes: 60 },
] as const;

/** A kernel that gives these answers, one for each time that it is asked, and what it was asked. */
function kernelWith(...answers: readonly Buffer[][]): { readonly exec: Exec; readonly asked: string[] } {
  const asked: string[] = [];
  const run: Exec['run'] = async (_file, _args, { stdin = '' }) => {
    const batches = answers[asked.length] ?? [];
    asked.push(stdin);
    return { stdout: batches.map((batch) => `${batch.toString('hex')}\n`).join(''), stderr: '' };
  };
  return { exec: { run, spawn: () => expect.unreachable() }, asked };
}

test('reads the counters above 0 in all messages of all answers, and no others', async () => {
  const first = Buffer.concat([
    elementAnswer('a', { '0a000001': one, '0a000002': other }),
    elementAnswer('b', { '0a000009': { packets: 0, bytes: 0 } }),
  ]);
  const { exec, asked } = kernelWith([
    first,
    elementAnswer('b', { '0a000003': other }),
    elementAnswer('c', { ff: one }),
  ]);
  const { a, b } = await readElementCounters(exec, table, { a: 'all', b: ['0a000003'] }, signal);
  expect(a).toEqual(
    new Map<string, ElementCounter>([
      ['0a000001', one],
      ['0a000002', other],
    ]),
  );
  expect(b).toEqual(new Map([['0a000003', other]]));
  expect(asked).toHaveLength(1);
});

test('a message that is cut off ends the reading', async () => {
  const whole = elementAnswer('a', { '0a000001': one });
  for (let length = 0; length < whole.length; length++) {
    const { exec } = kernelWith([Buffer.from(whole.subarray(0, length))]);
    expect((await readElementCounters(exec, table, { a: 'all' }, signal)).a.size).toBeLessThanOrEqual(1);
  }
});

test('a list during which the set changed is repeated, three times at most', async () => {
  const [torn, whole] = [elementAnswer('a', {}, true), elementAnswer('a', { '0a000001': one })];
  const twice = kernelWith([torn], [whole]);
  expect((await readElementCounters(twice.exec, table, { a: 'all' }, signal)).a.size).toBe(1);
  expect(twice.asked).toHaveLength(2);
  const always = kernelWith([torn], [torn], [torn], [whole]);
  expect((await readElementCounters(always.exec, table, { a: 'all' }, signal)).a.size).toBe(0);
  expect(always.asked).toHaveLength(3);
});

test('asks for single elements in lines of 200 at most, and nothing for none', async () => {
  const { exec, asked } = kernelWith();
  await readElementCounters(exec, table, { a: Array.from({ length: 450 }, (_, id) => classKey(id)) }, signal);
  expect(asked[0]?.trimEnd().split('\n')).toHaveLength(3);
  await readElementCounters(exec, table, { a: [] }, signal);
  expect(asked).toHaveLength(1);
});

test.each([
  ['192.0.2.51', 'UDP', 53, 'c00002331100000000350000'],
  ['2001:db8::1', 'TCP', 8080, '20010db8000000000000000000000001060000001f900000'],
] as const)('the key of %s %s %i', (text, protocol, port, key) => {
  const address = parseIp(text);
  expect(address && listenerAddressKey({ address, protocol, port })).toBe(key);
});
