import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { reasons } from '../src/core/reasons.ts';
import { reasonsPage, renderReasons } from './reasons.ts';

test('docs/reasons.md is the generated page; otherwise run `npm run docs:reasons`', () => {
  expect(readFileSync(reasonsPage, 'utf8')).toBe(renderReasons(reasons));
});

test('every reason is on the page', () => {
  const page = renderReasons(reasons);
  for (const reason of Object.keys(reasons)) expect(page).toContain(`\n### ${reason}\n`);
});

test('a reason that is shown in an unknown place is refused', () => {
  const moved = { ...reasons, Serving: { ...reasons.Serving, where: 'somewhere' } };
  expect(() => renderReasons(moved)).toThrow('somewhere');
});
