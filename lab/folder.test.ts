import { tmpdir } from 'node:os';
import { afterEach, expect, test, vi } from 'vitest';
import { checkName, folderOf } from './folder.ts';

afterEach(() => vi.unstubAllEnvs());

test.each(['', 'Lab', 'a-b', '1lab', 'a'.repeat(17), '../x'])('%j is not a valid name for a lab', (name) => {
  expect(() => checkName(name)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
});

test('a lab’s folder is below the temporary folder', () => {
  expect(folderOf('e2e')).toBe(`${tmpdir()}/furiwake-lab-e2e`);
});

test('a folder that the hosts cannot see is refused', () => {
  vi.stubEnv('TMPDIR', '/run/user/0');
  expect(() => folderOf('e2e')).toThrow('of which each host has its own');
});
