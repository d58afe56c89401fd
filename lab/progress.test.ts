import { expect, test } from 'vitest';
import { elapsed, makeProgress } from './progress.ts';

function harness(terminal: { columns?: number; hasColour?: boolean } = {}) {
  const written: string[] = [];
  let time = 0;
  let tick = (): void => undefined;
  let isTicking = false;
  const progress = makeProgress({
    write: (text) => written.push(text),
    columns: terminal.columns,
    hasColour: terminal.hasColour ?? false,
    now: () => time,
    every: (_ms, callback) => {
      tick = callback;
      isTicking = true;
      return () => {
        isTicking = false;
      };
    },
  });
  const pass = (ms: number): void => {
    time += ms;
    if (isTicking) tick();
  };
  return { progress, pass, text: () => written.join(''), isTicking: () => isTicking };
}

test('in a log a step has a line at the start, one at intervals, and one at the end', () => {
  const { progress, pass, text, isTicking } = harness();
  {
    using step = progress.step('Building kubelet (2 of 13)');
    step.update('812 packages compiled');
    pass(30_000);
    pass(15_000);
    step.done();
  }
  expect(text()).toBe(
    'Building kubelet (2 of 13) …\n' +
      'Building kubelet (2 of 13) · 812 packages compiled · 30 s\n' +
      'Building kubelet (2 of 13) · 812 packages compiled · 45 s\n' +
      '✓ Building kubelet (2 of 13) (45 s)\n',
  );
  expect(isTicking()).toBe(false);
});

test('on a terminal a step is one line, updated in place, never wider than the terminal', () => {
  const { progress, pass, text } = harness({ columns: 20 });
  using step = progress.step('Building kubelet');
  pass(200);
  step.done();
  expect(text()).toBe(
    '\r\u001B[KBuilding kubelet · \r\u001B[KBuilding kubelet · \r\u001B[K✓ Building kubelet (0.2 s)\n',
  );
});

test('a step that is left before it is done has failed', () => {
  const { progress, text } = harness({ hasColour: true });
  progress.step('Installing')[Symbol.dispose]();
  expect(text()).toBe('Installing …\n\u001B[31m✗\u001B[0m Installing (0.0 s)\n');
});

test.each([
  [400, '0.4 s'],
  [12_400, '12 s'],
  [99_600, '1:40 min'],
  [245_000, '4:05 min'],
])('%d ms are shown as %s', (ms, text) => {
  expect(elapsed(ms)).toBe(text);
});
