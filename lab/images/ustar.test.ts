import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { tar } from './ustar.ts';

const text = (content: string): Uint8Array[] => [Buffer.from(content)];

function listed(archive: Iterable<Uint8Array>): string[] {
  const output = execFileSync('tar', ['--list', '--verbose', '--numeric-owner', '--utc', '--file', '-'], {
    input: Buffer.concat([...archive]),
    encoding: 'utf8',
  });
  return output
    .trimEnd()
    .split('\n')
    .map((line) => line.replaceAll(/ +/g, ' '));
}

test('the system’s tar reads folders, files, modes and sizes as they were written', () => {
  const archive = tar([
    { path: 'tmp', mode: 0o1777 },
    { path: 'bin/sh', mode: 0o755, content: text('#!') },
    { path: 'empty', mode: 0o600, content: [] },
    { path: 'block', mode: 0o644, content: [Buffer.alloc(500), Buffer.alloc(524)] },
  ]);
  expect(listed(archive)).toEqual([
    'drwxrwxrwt 0/0 0 1970-01-01 00:00 tmp/',
    '-rwxr-xr-x 0/0 2 1970-01-01 00:00 bin/sh',
    '-rw------- 0/0 0 1970-01-01 00:00 empty',
    '-rw-r--r-- 0/0 1024 1970-01-01 00:00 block',
  ]);
});

test('contents are unchanged', () => {
  const archive = Buffer.concat([...tar([{ path: 'a', mode: 0o644, content: [...text('one '), ...text('two')] }])]);
  expect(execFileSync('tar', ['-xOf', '-', 'a'], { input: archive, encoding: 'utf8' })).toBe('one two');
});

test('an archive is a whole number of blocks and ends in two empty ones', () => {
  const archive = Buffer.concat([...tar([{ path: 'a', mode: 0o644, content: text('x') }])]);
  expect(archive.length).toBe(4 * 512);
  expect(archive.subarray(2 * 512).every((byte) => byte === 0)).toBe(true);
});

test('the same entries give the same bytes', () => {
  const make = (): Buffer => Buffer.concat([...tar([{ path: 'a', mode: 0o644, content: text('x') }])]);
  expect(make().equals(make())).toBe(true);
});

test('a path that ustar cannot hold is refused', () => {
  expect(() => [...tar([{ path: 'x'.repeat(101), mode: 0o644, content: [] }])]).toThrow(RangeError);
});
