import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { tableRows } from './page.ts';

const pages = globSync('docs/tested/*.md');

/** Links of a page to tests that do not exist: `[title](file)`, where the file must contain the title as it is. */
function missingTests(page: string, text: string): readonly string[] {
  return [...text.matchAll(/\[((?:\\.|[^\]\\])+)\]\(([^)\s]+\.test\.ts)\)/g)].flatMap(([, title = '', target = '']) => {
    const file = path.join(path.dirname(page), target);
    const words = title.replaceAll(/\\(.)/g, '$1');
    return existsSync(file) && readFileSync(file, 'utf8').includes(words) ? [] : [`${page}: ${words} (${target})`];
  });
}

test('every test that a page names is there', () => {
  expect(pages.flatMap((page) => missingTests(page, readFileSync(page, 'utf8')))).toEqual([]);
});

test('every situation names a test, a bench or a command', () => {
  const rows = pages.flatMap((page) => tableRows(readFileSync(page, 'utf8')).map((row) => ({ page, row })));
  expect(rows.length).toBeGreaterThan(0);
  expect(rows.filter(({ row }) => row.length < 3 || row.at(-1) === '')).toEqual([]);
});

test('a test that does not exist is found', () => {
  const text = `[a test that does not exist is found](../../tools/tested.test.ts) [no such \\[test\\]](../../tools/links.test.ts)`;
  expect(missingTests('docs/tested/README.md', text)).toEqual([
    'docs/tested/README.md: no such [test] (../../tools/links.test.ts)',
  ]);
});
