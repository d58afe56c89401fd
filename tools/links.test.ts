import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const pages = ['*.md', 'docs/**/*.md', 'lab/*.md', 'src/**/*.md', 'test/**/*.md'].flatMap((pattern) =>
  globSync(pattern),
);

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(text: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, title = ''] of withoutCode(text).matchAll(/^#+ (.*)$/gm)) {
    const base = title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    let anchor = base;
    for (let count = 1; anchors.has(anchor); count++) anchor = `${base}-${count}`;
    anchors.add(anchor);
  }
  return anchors;
}

function withoutCode(text: string): string {
  return text.replaceAll(/^```.*?^```$/gms, '');
}

/** Broken links to this repository. */
function brokenLinks(page: string, text: string): readonly string[] {
  return [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => {
      const [file = '', anchor] = target.split('#');
      const found = file === '' ? page : path.join(path.dirname(page), file);
      if (!existsSync(found)) return true;
      return anchor !== undefined && !anchorsOf(readFileSync(found, 'utf8')).has(anchor);
    })
    .map((target) => `${page}: ${target}`);
}

/** Files of this repository that a page names in code marks, and that do not exist. */
function missingFiles(page: string, text: string): readonly string[] {
  return [...withoutCode(text).matchAll(/`((?:src|test|tools|lab|bench|demo|deploy|docs)\/[\w./-]+)`/g)]
    .flatMap(([, file = '']) => file)
    .filter((file) => !existsSync(file))
    .map((file) => `${page}: ${file}`);
}

test('every file that a page names exists', () => {
  expect(pages.flatMap((page) => missingFiles(page, readFileSync(page, 'utf8')))).toEqual([]);
  const text = '`src/core/reasons.ts` `src/core/` `src/none.ts` `deploy/furiwake.yaml` `x/none.ts`';
  expect(missingFiles('README.md', text)).toEqual(['README.md: src/none.ts']);
});

test('no command of a page waits without an end', () => {
  const blocks = pages.flatMap((page) => [...readFileSync(page, 'utf8').matchAll(/^ *```sh\n(.*?)^ *```$/gms)]);
  const lines = blocks.flatMap(([, block = '']) => block.split('\n').map((line) => line.replace(/ # .*/, '')));
  expect(lines.length).toBeGreaterThan(50);
  const waits = lines.filter((line) => /\buntil\b|\bwhile (?!read\b)|\bwait\b|rollout status/.test(line));
  expect(waits.filter((line) => !line.includes('--timeout'))).toEqual([]);
});

test('every link between pages leads to a file and a heading', () => {
  expect(pages).toContain('README.md');
  expect(pages.flatMap((page) => brokenLinks(page, readFileSync(page, 'utf8')))).toEqual([]);
});

test('a link to a missing file or heading is found', () => {
  const text = '# Title\n[a](#title) [b](#no) [c](docs/reasons.md#reasons) [d](docs/none.md) [e](https://example.com)';
  expect(brokenLinks('README.md', text)).toEqual(['README.md: #title', 'README.md: #no', 'README.md: docs/none.md']);
});
