import { expect, test } from 'vitest';
import { makeMachine, makeOptions } from '../../test/make/machine.ts';
import { recordLog, recordMetrics } from '../../test/sim/observers.ts';
import { execOf } from '../../test/make/exec.ts';
import { ExecError } from '../ports/exec.ts';
import { check } from './check.ts';

/** What `check` says on a machine without programs and without a kubeconfig, and its exit code. */
async function say(isJson: boolean): Promise<readonly [code: number, said: string]> {
  let said = '';
  const exec = execOf((command) => {
    throw new ExecError(command, undefined, 'ENOENT');
  });
  const deps = {
    version: '',
    machine: makeMachine({ exec }),
    log: recordLog(),
    onReload: () => undefined,
    metrics: { ...recordMetrics(), text: async () => '', contentType: '' },
    isJson,
    isColoured: false,
    write: (text: string) => {
      said += text;
    },
  };
  const code = await check(makeOptions(), deps, new AbortController().signal);
  return [code, said];
}

test('--output json is a list of findings for programs, and the exit code is the same', async () => {
  const [code, said] = await say(true);
  const findings = JSON.parse(said) as readonly object[];
  expect(code).toBe(1);
  expect(findings).toContainEqual({ mark: 'ok', what: 'user', found: 'root' });
  expect(findings).toContainEqual({
    mark: 'wrong',
    what: 'haproxy',
    found: 'not on this host',
    advice: 'install it (Debian: apt-get install haproxy)',
  });
  expect(findings.at(-1)).toMatchObject({
    mark: 'wrong',
    what: 'kubeconfig',
    found: expect.stringMatching(/no kubeconfig found/),
  });
});

test('for people each finding is a line, with what to do below it', async () => {
  const [code, said] = await say(false);
  expect(code).toBe(1);
  expect(said).toMatch(/^✓ user +root\n✗ haproxy +not on this host\n +→ install it/);
  expect(said).toMatch(/\n5 wrong, 0 to look at: this host cannot do the job yet\.\n$/);
});
