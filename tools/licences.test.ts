import { expect, test } from 'vitest';
import { licencesOf } from './licences.ts';

test('each package has its licence once, by name', async () => {
  const text = await licencesOf([
    'src/main/furiwake.ts',
    'node_modules/zod/index.js',
    'node_modules/zod/v4/core/core.js',
    'node_modules/@prometheus-io/client/index.js',
  ]);
  expect(text.match(/^(@prometheus-io\/client|zod) \d.*$/gm)?.map((line) => line.split(' ')[0])).toEqual([
    '@prometheus-io/client',
    'zod',
  ]);
  expect(text).toContain('MIT License');
  expect(text).toContain('Apache License');
});

test('a package without a licence is an error', async () => {
  await expect(licencesOf(['node_modules/missing/index.js'])).rejects.toThrow('missing');
});
