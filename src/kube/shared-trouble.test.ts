import { expect, test } from 'vitest';
import { recordLog } from '../../test/sim/observers.ts';
import { makeSharedTrouble } from './shared-trouble.ts';

type Ending = readonly [what: 'failed' | 'over' | 'drop', key: string];

test.each<[name: string, steps: readonly Ending[], said: string]>([
  [
    'all succeeded',
    [
      ['over', 'a'],
      ['over', 'b'],
    ],
    'writing works again',
  ],
  [
    'one succeeded, and the others are no longer needed',
    [
      ['over', 'a'],
      ['drop', 'b'],
    ],
    'writing works again',
  ],
  [
    'none is needed any more',
    [
      ['drop', 'a'],
      ['drop', 'b'],
    ],
    'writing is no longer needed',
  ],
  [
    'one succeeded before another failed',
    [
      ['over', 'a'],
      ['failed', 'b'],
      ['drop', 'b'],
    ],
    'writing is no longer needed',
  ],
])('the end of a failure, where %s', (_, steps, said) => {
  const log = recordLog();
  const trouble = makeSharedTrouble<string>({ what: 'writing', clock: { monotonic: () => 0 }, log });
  const lead: readonly Ending[] = [
    ['failed', 'a'],
    ['failed', 'b'],
  ];
  for (const [what, key] of [...lead, ...steps]) trouble[what](key, 'no route');
  expect(log.lines.map(({ message }) => message)).toEqual(['writing failed; retrying', said]);
  expect(log.failures).toEqual(new Map());
});

test('what did not fail is not said to work again', () => {
  const log = recordLog();
  const trouble = makeSharedTrouble<string>({ what: 'writing', clock: { monotonic: () => 0 }, log });
  trouble.over('a');
  trouble.drop('b');
  expect(log.lines).toEqual([]);
});
