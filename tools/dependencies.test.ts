import { expect, test } from 'vitest';
import { recipes } from '../lab/binaries/recipes.ts';
import { missingPackages } from '../lab/machine/packages.ts';
import packageFile from '../package.json' with { type: 'json' };
import { readPage, tableRows } from './page.ts';

const rows = tableRows(readPage('docs/dependencies.md')).map(([name = '', version = '']) => `${name} ${version}`);

test('docs/dependencies.md has every package of package.json with its version', () => {
  const packages = Object.entries({ ...packageFile.dependencies, ...packageFile.devDependencies });
  expect(rows).toEqual(expect.arrayContaining(packages.map(([name, version]) => `${name} ${version}`)));
});

test('docs/dependencies.md has every Debian package and every set of Go modules of the lab', () => {
  const debian = missingPackages(() => undefined);
  const names = rows.map((row) => row.split(' ')[0]);
  expect(names).toEqual(expect.arrayContaining([...debian]));
  const built = recipes.filter(({ compiler }) => compiler[0] === 'go');
  expect(rows).toEqual(expect.arrayContaining(built.map(({ name, version }) => `${name} ${version}`)));
});
