import { expect, test } from 'vitest';
import { recordLog } from '../../test/sim/observers.ts';
import { makeTrouble } from '../async/trouble.ts';
import { makeTermLog } from './term-log.ts';

test('what fails at the end of a term no longer counts as failing, and what fails elsewhere does', () => {
  const log = recordLog();
  const term = makeTermLog(log);
  const clock = { monotonic: () => 0 };
  const [watching, writing, still] = ['watching', 'writing', 'watching'].map((what, index) =>
    makeTrouble({ what, log: index === 2 ? log : term.log.child({ part: 'term' }), clock }),
  );
  for (const trouble of [watching, writing, still]) trouble?.failed('no answer');
  writing?.over();
  expect([...log.failures]).toEqual([['watching', 2]]);
  term.end();
  watching?.over(); // a late answer
  expect([...log.failures]).toEqual([['watching', 1]]);
  still?.over();
  expect([...log.failures]).toEqual([]);
  expect(log.lines.map(({ message }) => message)).toContain('writing works again');
});
