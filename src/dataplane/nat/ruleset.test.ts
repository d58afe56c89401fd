import { expect, test } from 'vitest';
import { keepChain, natRules } from './ruleset.ts';

test.each([
  [1, 10],
  [10, 10],
  [11, 30],
  [301, 600],
  [10_800, 10_800],
  [86_400, 86_400],
])('clients of a Service with a timeout of %i s are kept for %i s', (seconds, kept) => {
  const chain = keepChain(4, seconds);
  expect(chain).toBe(`keep4for${kept}`);
  expect(natRules.split(`chain ${chain} {`)[1]?.split('}')[0]).toContain(` timeout ${kept}s : `);
});
