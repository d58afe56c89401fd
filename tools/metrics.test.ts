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

test('each alert in docs/metrics.md is about a metric that exists, as its kind permits, by labels that it has', () => {
  const rows = tableRows(readPage('docs/metrics.md'));
  const kindOf = new Map(rows.map(([name = '', kind = '', labels = '']) => [name, { kind, labels }]));
  const alerts = rows.map(([when = '']) => when).filter((when) => /[=<>] ?\d/.test(when) && when.includes('furiwake_'));
  expect(alerts.length).toBeGreaterThan(10);
  const found = alerts.flatMap((alert) =>
    [...alert.matchAll(/(increase\()?(furiwake_\w+)(?:\{(\w+)=)?/g)].map(([, increase, name = '', label]) => {
      const { kind, labels = '' } = kindOf.get(name) ?? {};
      const isKnown = label === undefined || labels.split(', ').includes(label);
      return [alert, kind === (increase === undefined ? 'gauge' : 'counter'), isKnown];
    }),
  );
  expect(found.filter(([, hasKind, hasLabel]) => hasKind === false || hasLabel === false)).toEqual([]);
});
