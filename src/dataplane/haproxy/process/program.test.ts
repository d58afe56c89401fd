import { expect, test } from 'vitest';
import { type Exec, ExecError } from '../../../ports/exec.ts';
import { pathsIn } from '../config/config.ts';
import { makeProgram } from './program.ts';

test.each([
  ['/usr/sbin/haproxy: error while loading shared libraries: libcrypt.so.1', 127, 'ExecError'],
  ['[NOTICE]   (7) : New worker (8) forked', 1, 'ExecError'],
  ['[ALERT]    (7) : config : [/x:29] : timer overflow', 1, 'ConfigRefusedError'],
])('only what HAProxy itself says is a refusal: %s', async (stderr, exitCode, name) => {
  const run: Exec['run'] = () => Promise.reject(new ExecError('haproxy', exitCode, stderr));
  const program = makeProgram({ paths: pathsIn('/x'), exec: { run } });
  await expect(program.start(new AbortController().signal)).rejects.toMatchObject({ name });
});
