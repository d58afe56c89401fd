import { execFile } from 'node:child_process';
import path from 'node:path';
import { expect, test } from 'vitest';
import { nodeProblem } from './version.ts';

test.each(['22.19.0', '22.20.1', '24.0.0', '26.1.0-nightly'])('Node.js %s is new enough', (version) => {
  expect(nodeProblem(version, '/usr/bin/node')).toBeUndefined();
});

test.each(['18.20.4', '20.20.2', '22.9.0', '22.18.0'])('Node.js %s is too old', (version) => {
  expect(nodeProblem(version, '/usr/bin/node')).toBe(
    `furiwake needs Node.js 22.19 or newer (this is ${version} at /usr/bin/node).`,
  );
});

test('a Node.js that is too old gets one line, before any other module runs', async () => {
  const old = `
    Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.2' } });
    delete Promise.withResolvers;`;
  const file = path.join(import.meta.dirname, '..', 'furiwake.ts');
  const args = ['--no-warnings', '--import', `data:text/javascript,${encodeURIComponent(old)}`, file, 'check'];
  const result = await new Promise<object>((resolve) => {
    execFile(process.execPath, args, (error, stdout, stderr) => resolve({ code: error?.code, stdout, stderr }));
  });
  expect(result).toEqual({
    code: 1,
    stdout: '',
    stderr: `error: furiwake needs Node.js 22.19 or newer (this is 20.20.2 at ${process.execPath}).\n`,
  });
});
