import { expect, test } from 'vitest';
import { execOf } from '../../test/make/exec.ts';
import { makeMachine } from '../../test/make/machine.ts';
import { filesOf } from '../../test/sim/harness.ts';
import { ExecError } from '../ports/exec.ts';
import { assertHost } from './host-tools.ts';

const { signal } = new AbortController();

const exec = (missing?: string) =>
  execOf((command) => {
    const [program = ''] = command.split(' ');
    if (program === missing) throw new ExecError(program, undefined, 'not found', { isMissing: true });
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

test.each([
  ['times out', new ExecError('haproxy', undefined, 'timed out after 10000 ms'), 'timed out after 10000 ms'],
  [
    'lacks a library',
    new ExecError('haproxy', 127, 'haproxy: error while loading shared libraries:\nlibcrypt.so.1: not found\n'),
    'haproxy: error while loading shared libraries:; libcrypt.so.1: not found',
  ],
  ['has failed without a word', new ExecError('haproxy', 3, ''), 'exit code 3'],
])('a program that %s is not called missing', async (_, error, cause) => {
  const broken = execOf(() => {
    throw error;
  });
  await expect(assertHost(makeMachine({ exec: broken }), signal)).rejects.toMatchObject({
    code: 'START',
    message: expect.stringMatching(`^haproxy is not usable \\(${cause}\\): run it by hand`),
  });
});

test('run does not start without root', async () => {
  await expect(assertHost(makeMachine({ exec: exec(), isRoot: false }), signal)).rejects.toMatchObject({
    code: 'START',
    message: 'furiwake run needs root: it configures nftables, routes and addresses of this host',
  });
});

test('run starts where all programs are installed', async () => {
  await expect(assertHost(makeMachine({ exec: exec() }), signal)).resolves.toBeUndefined();
});

test.each([
  ['000001ffffffdfff', 'CAP_NET_RAW'],
  ['000001ffffffebbf', 'CAP_SETGID, CAP_NET_BIND_SERVICE, CAP_NET_ADMIN'],
])('run does not start without a capability (CapEff %s)', async (effective, names) => {
  const files = filesOf(new Map([['/proc/self/status', `Name:\tnode\nCapEff:\t${effective}\n`]]));
  await expect(assertHost(makeMachine({ exec: exec(), files }), signal)).rejects.toMatchObject({
    code: 'START',
    message: expect.stringMatching(`^furiwake run needs ${names}, which root does not have here: add them to `),
  });
});
