import { expect, test } from 'vitest';
import { type ChaosOptions, runChaos } from './chaos.ts';

/*
 * Operators and fate do what they can to the whole furiwake, with the real HAProxy, nft and ip, while clients never stop: in a
 * random order, which the seed decides. SEED=N repeats one, RUNS=N makes as many, STEPS=N as many actions in each, ONLY=3,7 these alone,
 * DO='link down,ruleset flushed' actions with these names alone; with ALONE=1 each waits until all is as wanted after the one before.
 * LOG_LEVEL=debug prints all at once.
 */
const first = Number(process.env['SEED'] ?? 13);
const runs = Number(process.env['RUNS'] ?? 1);
const steps = Number(process.env['STEPS'] ?? 8);
const only = process.env['ONLY']?.split(',').map(Number);
const names = process.env['DO']?.split(',');
const isAlone = process.env['ALONE'] !== undefined;
const modes: readonly Pick<ChaosOptions, 'hosts' | 'isSoft' | 'isOwn'>[] = [
  { hosts: 1, isSoft: true, isOwn: false },
  { hosts: 1, isSoft: false, isOwn: false },
  { hosts: 2, isSoft: false, isOwn: false },
  { hosts: 1, isSoft: false, isOwn: true },
];

test.each(Array.from({ length: runs }, (_, index) => first + index))('nothing is wrong with seed %d', async (seed) => {
  const tale: string[] = [];
  const tell = (words: string): void => {
    tale.push(words);
    if (process.env['LOG_LEVEL'] !== undefined) process.stderr.write(`${words}\n`);
  };
  const mode = modes[seed % modes.length]!;
  const wrong = await runChaos({
    ...mode,
    seed,
    steps,
    only: only && new Set(only),
    names: names && new Set(names),
    isAlone,
    tell,
  });
  if (isAlone) console.log(tale.filter((words) => words.includes('cost of')).join('\n'));
  expect(wrong.length === 0 ? [] : [...wrong, ...tale]).toEqual([]);
});
