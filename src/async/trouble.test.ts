import { expect, test } from 'vitest';
import { recordLog } from '../../test/sim/observers.ts';
import { makeTrouble } from './trouble.ts';

/** Minutes at which a failure was logged that repeats each second, with the messages from `messageOf`. */
function logged(minutes: number, messageOf: (second: number) => string): readonly string[] {
  let nowMs = 0;
  const log = recordLog();
  const trouble = makeTrouble({ what: 'writing', log, clock: { monotonic: () => nowMs } });
  const times: string[] = [];
  for (let second = 0; second < minutes * 60; second++) {
    nowMs = second * 1000;
    const before = log.lines.length;
    trouble.failed(new Error(messageOf(second)));
    if (log.lines.length > before) times.push(`${Math.floor(second / 60)} ${messageOf(second)}`);
  }
  return times;
}

test('a lasting failure is logged at once, and again at growing intervals', () => {
  expect(logged(35, () => 'full')).toEqual(['0 full', '1 full', '3 full', '7 full', '15 full', '31 full']);
});

test('a failure that lasts for hours is logged each hour', () => {
  const minutes = logged(6 * 60, () => 'full').map((line) => Number.parseInt(line, 10));
  expect(minutes).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303]);
});

test('a failure whose message alternates is not logged each time', () => {
  const lines = logged(5, (second) => (second % 2 === 0 ? 'full' : 'gone'));
  expect(lines).toEqual(['0 full', '0 gone', '1 full', '1 gone', '3 full', '3 gone']);
});

test('messages that all differ are not logged forever', () => {
  expect(logged(60, (second) => `process ${second} failed`).length).toBeLessThan(30);
});

test('another message is logged at once', () => {
  expect(logged(1, (second) => (second < 30 ? 'full' : 'read-only'))).toEqual(['0 full', '0 read-only']);
});

test('the end is logged once, with how long it lasted', () => {
  let nowMs = 0;
  const log = recordLog();
  const trouble = makeTrouble({ what: 'writing the map file', log, clock: { monotonic: () => nowMs } });
  trouble.over();
  trouble.failed(new Error('full'));
  trouble.failed(new Error('full'));
  nowMs = 90_000;
  trouble.over();
  trouble.over();
  expect(log.lines.slice(1)).toEqual([
    { level: 'info', fields: { attempts: 2, seconds: 90 }, message: 'writing the map file works again' },
  ]);
});

test('it is counted while it lasts, each task once, and no longer when nothing is attempted', () => {
  const log = recordLog();
  const [first, second] = ['a', 'b'].map(() => makeTrouble({ what: 'writing', log, clock: { monotonic: () => 0 } }));
  first?.failed('full');
  first?.failed('full');
  second?.failed('full');
  expect(log.failures).toEqual(new Map([['writing', 2]]));
  first?.over();
  first?.over();
  second?.drop();
  second?.drop();
  second?.over();
  expect(log.failures).toEqual(new Map());
  expect(log.lines.map(({ message }) => message)).toEqual([
    'writing failed; retrying',
    'writing failed; retrying',
    'writing works again',
  ]);
});
