import { expect, test } from 'vitest';
import { execOf } from '../../test/make/exec.ts';
import { makeMachine } from '../../test/make/machine.ts';
import { ExecError } from '../ports/exec.ts';
import { assertHost } from './host-tools.ts';

const { signal } = new AbortController();

const exec = (missing?: string) =>
  execOf((command) => {
    const [program = ''] = command.split(' ');
    if (program === missing) throw new ExecError(program, undefined, 'ENOENT');
    return program === 'haproxy' ? 'HAProxy version 2.6.12-1+deb12u4 2026/10/17\n' : `${program} 1.0\n`;
  });

test.each([
  ['haproxy', 'haproxy'],
  ['nft', 'nftables'],
  ['ip', 'iproute2'],
  ['ss', 'iproute2'],
  ['perl', 'perl'],
])('run does not start without %s', async (program, debianPackage) => {
  await expect(assertHost(makeMachine({ exec: exec(program) }), signal)).rejects.toMatchObject({
    code: 'START',
    message: `${program} is not installed: install it (Debian: apt-get install ${debianPackage})`,
  });
});

test('run starts where all programs are installed', async () => {
  await expect(assertHost(makeMachine({ exec: exec() }), signal)).resolves.toBeUndefined();
});
