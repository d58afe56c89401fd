import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { optionPrefix } from '../src/core/model/contract.ts';
import { decodeProxyOptions, optionNames } from '../src/core/traffic/decode-options.ts';

const rows = [...readFileSync('docs/annotations.md', 'utf8').matchAll(/^\| `([a-z-]+)` +\| (.*?) +\|/gm)];

test('the page on annotations has a row for each one', () => {
  expect(rows.map(([, name = '']) => name).toSorted()).toEqual([...optionNames].toSorted());
});

test.each(
  rows
    .map(([, name = '', values = '']) => [name, values] as const)
    .filter(([name]) => name !== 'proxy-protocol' && name !== 'http-mode'),
)('the values of %s are those that are valid', (name, values) => {
  const check = name.startsWith('health-check-') ? [[`${optionPrefix}health-check`, 'tcp'] as const] : [];
  const { problems } = decodeProxyOptions({ options: [...check, [`${optionPrefix}${name}`, '?']], ports: [] });
  const [, valid] = /\(valid: (.*)\)$/.exec(problems[0] ?? '') ?? [];
  expect(values.replaceAll('`', '')).toBe(valid);
});
