import { expect, test } from 'vitest';
import { execOf } from '../../../test/make/exec.ts';
import { makeMachine, makeOptions } from '../../../test/make/machine.ts';
import { filesOf } from '../../../test/sim/harness.ts';
import { ExecError } from '../../ports/exec.ts';
import type { Holder } from '../../daemon/host-lock.ts';
import type { Finding } from './finding.ts';
import { checkHost } from './host.ts';

type Scene = {
  /** What programs answer, by the beginning of the command line; an error is thrown. */
  readonly programs?: Readonly<Record<string, string | Error>>;
  readonly files?: Readonly<Record<string, string>>;
  readonly isRoot?: boolean;
  readonly addresses?: string;
  readonly holder?: Holder;
};

/** A host where all is well. */
const well: Readonly<Record<string, string>> = {
  'haproxy -v': 'HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nmore\n',
  'nft --version': 'nftables v1.0.6 (Lester Gooch #5)\n',
  'ip -V': 'ip utility, iproute2-6.1.0\n',
  'ss -V': 'ss utility, iproute2-6.1.0\n',
  'nft --check': '',
  'nft -j list chains': '{"nftables":[]}',
  'ip -json link': '[{"ifname":"lo"},{"ifname":"eth0"}]',
  'ip -json address': JSON.stringify([
    { ifname: 'eth0', flags: ['UP'], addr_info: [{ local: '192.0.2.51', prefixlen: 24 }] },
  ]),
  'ip -4 -json route show table main': '[]',
  'ip -6 -json route show table main': '[]',
  'ss -Hltn': 'LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\nLISTEN 0 128 192.0.2.51:8080 0.0.0.0:*\n',
};
const failure = new ExecError('program', 1, 'Operation not supported\nand more\n');
const limits = (hard: string): string => `Max open files            1024                 ${hard}              files\n`;

async function find({
  programs = {},
  files = {},
  isRoot = true,
  holder,
  addresses = '192.0.2.8',
}: Scene): Promise<readonly Finding[]> {
  const answers = Object.entries({ 'ss -H -4 -t -K': failure, ...well, ...programs });
  const exec = execOf((command) => {
    // The longest beginning that fits: `ss -Hltnp` before `ss -Hltn`.
    const fitting = answers.filter(([begin]) => command.startsWith(begin)).sort(([a], [b]) => b.length - a.length);
    const answer = fitting[0]?.[1] ?? new Error(`unexpected: ${command}`);
    if (answer instanceof Error) throw answer;
    return answer;
  });
  const texts = new Map(Object.entries({ '/proc/self/limits': limits('1048576'), ...files }));
  const machine = makeMachine({ exec, files: filesOf(texts), isRoot });
  return checkHost(makeOptions({ addresses }), machine, holder, new AbortController().signal);
}

const marks = (findings: readonly Finding[]): unknown =>
  Object.fromEntries(findings.filter(({ mark }) => mark !== 'ok').map(({ mark, what }) => [what, mark]));

test.each([
  ['192.0.2.8-192.0.2.11', 'ok', '4 addresses: 192.0.2.8-192.0.2.11'],
  [
    '192.0.2.0/30',
    'ok',
    '2 addresses: 192.0.2.0-192.0.2.3; left out: 192.0.2.1 (default gateway of this host), 192.0.2.0 (network address of a LAN of this host)',
  ],
  ['192.0.2.1', 'wrong', '0 addresses: 192.0.2.1; left out: 192.0.2.1 (default gateway of this host)'],
] as const)(
  'of the pool %s the addresses are counted, and those that no Service gets are named',
  async (pool, mark, found) => {
    const programs = { 'ip -4 -json route show table main': '[{"dst":"default","gateway":"192.0.2.1","dev":"eth0"}]' };
    const findings = await find({ programs, addresses: pool });
    expect(findings.filter(({ what }) => what === 'address pool')).toMatchObject([{ mark, found }]);
  },
);

test('a host where all is well has nothing wrong', async () => {
  const findings = await find({});
  expect(marks(findings)).toEqual({ 'ss -K': 'warning' });
  expect(findings).toContainEqual(expect.objectContaining({ what: 'own addresses', found: '192.0.2.51' }));
  expect(findings).toContainEqual(
    expect.objectContaining({ what: 'reserved ports', found: expect.stringMatching(/^22, 8080 /) }),
  );
});

test.each<[string, Scene, string, object]>([
  [
    'a missing program',
    { programs: { 'nft --version': failure } },
    'nft',
    { mark: 'wrong', advice: 'install it (Debian: apt-get install nftables)' },
  ],
  [
    'an old HAProxy',
    { programs: { 'haproxy -v': 'HA-Proxy version 2.2.9-2+deb11u6 2024/01/01' } },
    'haproxy',
    { mark: 'wrong', advice: 'furiwake needs HAProxy 2.6 or newer' },
  ],
  ['a user other than root', { isRoot: false }, 'user', { mark: 'wrong', found: 'not root' }],
  [
    'few descriptors',
    { files: { '/proc/self/limits': limits('4096') } },
    'descriptor limit',
    { mark: 'warning', found: '4096 descriptors: HAProxy holds 1536 connections at once' },
  ],
  [
    'a furiwake that runs',
    { holder: { command: 'run', pid: 12, stateDir: '/x' } },
    'other furiwake',
    { mark: 'warning', found: expect.stringContaining('furiwake run, process 12') },
  ],
  [
    'a port that is taken',
    { programs: { 'ss -Hltnp': 'LISTEN 0 128 127.0.0.1:292 0.0.0.0:* users:(("nc",pid=9,fd=3))' } },
    'port of HAProxy',
    { mark: 'wrong', found: '127.0.0.1:292 is held by nc (process 9)' },
  ],
])('%s is found', async (_, scene, what, finding) => {
  expect((await find(scene)).filter((each) => each.what === what)).toMatchObject([finding]);
});

test.each<[string, Scene, string, RegExp]>([
  ['nft does not list', { programs: { 'nft -j list chains': failure } }, 'host firewall', /not supported; and more$/],
  ['ip does not answer in JSON', { programs: { 'ip -json link': 'nonsense' } }, 'kernel settings', /JSON/],
])('where %s, that is wrong, and all else is looked at', async (_, scene, what, found) => {
  const findings = await find(scene);
  expect(findings.filter((each) => each.what === what && each.mark !== 'ok')).toMatchObject([
    { mark: 'wrong', found: expect.stringMatching(found) },
  ]);
  expect(marks(findings)).toEqual({ 'ss -K': 'warning', [what]: 'wrong' });
});
