import { globSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { findTerms } from './prose.ts';
import { terms } from './terms.ts';

/** All but the list of terms and its test, which quote them. */
const files = globSync([
  '{*,docs/**/*}.md',
  '{src,lab,bench,demo,test,tools}/**/*.{ts,md}',
  'deploy/**/*.{yaml,json}',
  'Makefile',
]).filter((file) => !/^tools\/(?:terms|prose\.test)\.ts$/.test(file));

test('pages, comments, messages and test names keep to the terms', async () => {
  expect(files.length).toBeGreaterThan(300);
  const found: string[] = [];
  for (const file of files.sort()) found.push(...(await findTerms(file, readFileSync(file, 'utf8'))));
  expect(found).toEqual([]);
});

test.for(terms)('finds "$example"', async ({ example, but }) => {
  expect(await findTerms('page.md', `# A page\n\n| head |\n|------|\n| ${example} |\n`)).toEqual([
    expect.stringMatching(/^page\.md:5: /),
  ]);
  expect(but).not.toBe('');
});

test('finds a phrase in a comment, over two lines of one, in a string and in a template', async () => {
  const source = [
    '/** Somebody is here. */',
    "export const a = `${1}'s address was given back to its ${2}'s pool, and is no ${3}`; // it is no Service",
    '/*',
    ' * The status was put',
    ' * back.',
    ' */',
    "throw new Error('nobody is there');",
  ].join('\n');
  expect(await findTerms('a.ts', source)).toEqual([
    expect.stringContaining('a.ts:1: "Somebody"'),
    expect.stringContaining('a.ts:2: "given back"'),
    expect.stringContaining('a.ts:2: "is no x"'),
    expect.stringContaining('a.ts:2: "is no Service"'),
    expect.stringContaining('a.ts:4: "put back"'),
    expect.stringContaining('a.ts:7: "nobody"'),
  ]);
});

test('finds a phrase in a comment of another file', async () => {
  expect(await findTerms('a.yaml', 'nobody: 1\n# nobody\nb: 2 # is no Service\n')).toEqual([
    expect.stringContaining('a.yaml:2: "nobody"'),
    expect.stringContaining('a.yaml:3: "is no Service"'),
  ]);
});

test('leaves quotations, identifiers and other words alone', async () => {
  expect(await findTerms('a.md', 'The account `nobody`, and "there is no box"-shaped `is no Service`.')).toHaveLength(
    1,
  );
  expect(await findTerms('a.ts', "const user = 'nobody'; const no = `is no-op`; // `somebody` is a quotation")).toEqual(
    [],
  );
  expect(await findTerms('a.md', 'There is no node. It is no longer there. Sandboxes are given.')).toEqual([]);
});
