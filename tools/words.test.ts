import { globSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

/** Words for which the pages and the code name who acts, or use the term of the field. */
const avoided: Readonly<Record<string, string>> = {
  somebody: 'name the client, process or machine',
  nobody: 'no client, no process, no Service',
  whoever: 'any client, anyone who',
};

/** Tests may name what they like. */
const files = globSync(['src/**/*.ts', 'docs/*.md', 'README.md', 'CHANGELOG.md', 'deploy/*']).filter(
  (file) => !file.endsWith('.test.ts'),
);

test('pages, messages and comments say who acts', () => {
  expect(files.length).toBeGreaterThan(100);
  const found = files.flatMap((file) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .flatMap((line, index) =>
        Object.entries(avoided)
          .filter(([word]) => new RegExp(`\\b${word}\\b`, 'i').test(line))
          .map(([word, advice]) => `${file}:${index + 1}: "${word}": ${advice}`),
      ),
  );
  expect(found).toEqual([]);
});
