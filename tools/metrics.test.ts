import { globSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readPage, tableRows } from './page.ts';

const calls = /\.(counter|gauge|histogram)\(\s*'(furiwake_\w+)'/g;

test('docs/metrics.md has every metric of the code with its kind, and no other', () => {
  const files = globSync('src/**/*.ts').filter((file) => !file.endsWith('.test.ts'));
  const inCode = files.flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(calls)].map(([, kind, name]) => `${name} ${kind}`),
  );
  expect(inCode.length).toBeGreaterThan(10);
  const inDocs = tableRows(readPage('docs/metrics.md'))
    .filter(([name = '']) => /^furiwake_\w+$/.test(name))
    .map(([name, kind]) => `${name} ${kind}`);
  expect(inDocs.sort()).toEqual([...new Set(inCode)].sort());
});
