import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

/*
 * The direction of imports (docs/architecture.md), as an allow-list:
 *
 *   core ← ports ← async ← { api, kube, dataplane, health, host, advertise, http, state } ← { controller, agent } ← daemon ← cli ← main
 *
 * `core` and `ports` import no packages and no `node:*`; an adapter never imports another adapter.
 */
const inner = ['core', 'ports'];
const common = [...inner, 'async'];
const adapters = ['api', 'kube', 'dataplane', 'health', 'host', 'advertise', 'http', 'state'];
const allow: Readonly<Record<string, readonly string[]>> = {
  core: ['core'],
  ports: inner,
  async: common,
  ...Object.fromEntries(adapters.map((name) => [name, [...common, name]])),
  ...Object.fromEntries(['controller', 'agent'].map((name) => [name, [...common, ...adapters, name]])),
  daemon: [...common, ...adapters, 'controller', 'agent', 'daemon'],
  cli: [...common, ...adapters, 'controller', 'agent', 'daemon', 'cli'],
  main: [...common, ...adapters, 'controller', 'agent', 'daemon', 'cli', 'main'],
};

const importPattern =
  /^\s*(?:import|export)\s[^'"]*?from\s*['"]([^'"]+)['"]|import\s*\(\s*['"]([^'"]+)['"]\s*\)|^\s*import\s*['"]([^'"]+)['"]/gm;

/** Globals that hide time or randomness: only `main` may use them, all other folders get a port. */
const hiddenEffects = /\b(?:Date\.now|Math\.random|setTimeout|setInterval|process\.(?:env|argv|exit))\b/;

export function violations(file: string, text: string): string[] {
  const folder = file.split(path.sep)[1] ?? '';
  const allowed = allow[folder];
  if (allowed === undefined) return [`${file}: folder ${folder} is not in the allow-list`];
  const isTest = file.endsWith('.test.ts');
  const bad: string[] = [];
  for (const match of text.matchAll(importPattern)) {
    const target = match[1] ?? match[2] ?? match[3] ?? '';
    if (folder === 'main' && target.endsWith('/package.json')) continue; // its version
    if (target.startsWith('.')) {
      const to = path.normalize(path.join(path.dirname(file), target)).split(path.sep)[1] ?? '';
      if (!allowed.includes(to) && !isTest) bad.push(`${file} → ${to}: ${target}`);
    } else if (inner.includes(folder) && !isTest) bad.push(`${file} → ${target}: ${folder} imports no packages`);
  }
  if (folder !== 'main' && !isTest) {
    for (const [index, line] of text.split('\n').entries()) {
      if (hiddenEffects.test(line) && !/^\s*(?:\*|\/\/|\/\*)/.test(line))
        bad.push(`${file}:${index + 1}: ${line.trim()}: take a port instead`);
    }
  }
  return bad;
}

test('every file under src imports only from the folders that its own folder may know', () => {
  const files = globSync('src/**/*.ts');
  expect(files.length).toBeGreaterThan(0);
  expect(files.flatMap((file) => violations(file, readFileSync(file, 'utf8')))).toEqual([]);
});

test('a core file that imports an adapter, a package or the clock is refused', () => {
  const text = "import { x } from '../kube/client.ts';\nimport fs from 'node:fs';\nconst now = Date.now();\n";
  expect(violations('src/core/bad.ts', text)).toHaveLength(3);
});

/** Each name, with the files that have a declaration of it. */
function declaredIn(declaration: RegExp): ReadonlyMap<string, readonly string[]> {
  const places = new Map<string, string[]>();
  for (const file of globSync('src/**/*.ts')) {
    const names = Array.from(readFileSync(file, 'utf8').matchAll(declaration), ([, name = '']) => name);
    for (const name of new Set(names)) places.set(name, [...(places.get(name) ?? []), file]);
  }
  return places;
}

test.each([
  ['export the same name', /^export (?:async )?(?:type|class|function|const) (\w+)/gm],
  ['declare a type, an interface or a class of one name', /^\s*(?:export )?(?:type|interface|class) ([A-Z]\w*)[ <]/gm],
])('one name is one thing: no two files under src %s', (_, declaration) => {
  const places = declaredIn(declaration);
  expect(places.size).toBeGreaterThan(0);
  expect([...places].filter(([, files]) => files.length > 1)).toEqual([]);
});

test('growing waits have the limits of src/async/backoff.ts, or a comment that says why not', () => {
  const places = globSync('src/**/*.ts', { exclude: ['**/*.test.ts', 'src/async/backoff.ts'] }).flatMap((file) => {
    const lines = readFileSync(file, 'utf8').split('\n');
    return lines.flatMap((line, at) =>
      /\{ firstMs\b.*\bmostMs\b.* \}/.test(line) ? [{ file, line, above: lines[at - 1] }] : [],
    );
  });
  expect(places.length).toBeGreaterThan(0);
  const silent = places.filter(({ line, above = '' }) => !/ \/\/ /.test(line) && !/^\s*\/\/|\*\/$/.test(above));
  expect(silent).toEqual([]);
});

const mostLines = 300;

test(`no file has more than ${mostLines} lines`, () => {
  const files = globSync('{src,test,lab,bench,demo,tools}/**/*.ts');
  const long = files.filter((file) => readFileSync(file, 'utf8').split('\n').length - 1 > mostLines);
  expect(long).toEqual([]);
});

test('zod is imported as a namespace: `import { z }` would bundle its messages in all languages, 470 kB', () => {
  const files = globSync('{src,tools,lab,test,bench}/**/*.ts');
  expect(files.filter((file) => /import \{[^}]*\} from 'zod'/.test(readFileSync(file, 'utf8')))).toEqual([]);
});

test('no line of a comment has more than 140 characters: oxfmt does not break comments', () => {
  const files = globSync('{src,test,lab,bench,demo,tools}/**/*.ts');
  const long = files.flatMap((file) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .flatMap((line, at) => (isLongComment(line) ? [`${file}:${at + 1}`] : [])),
  );
  expect(long).toEqual([]);
});

/** A line of a block comment, or with a comment of its own at the end. */
function isLongComment(line: string): boolean {
  return line.length > 140 && /^\s*(?:\*|\/\*|\/\/)|\s\/\/\s/.test(line);
}
