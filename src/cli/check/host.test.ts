import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { type CheckScene, findIn, limits, runCheck } from '../../../test/make/check-scene.ts';
import { jsonReply, serveHttp } from '../../http/server.ts';
import { ExecError } from '../../ports/exec.ts';
import type { GroupedFinding } from './finding.ts';

const failure = new ExecError('program', 1, 'Operation not supported\nand more\n');
const missing = new ExecError('program', undefined, 'not found', { isMissing: true });

const marks = (findings: readonly GroupedFinding[]): unknown =>
  Object.fromEntries(findings.filter(({ mark }) => mark !== 'ok').map(({ mark, what }) => [what, mark]));

test.each<[string, CheckScene, string, object]>([
  [
    'a missing program',
    { programs: { 'nft --version': missing } },
    'nft',
    { mark: 'problem', found: 'not installed', advice: 'install it (Debian: apt-get install nftables)' },
  ],
  ['a host without perl', { programs: { perl: missing } }, 'perl', { mark: 'problem', found: 'not installed' }],
  [
    'a host whose perl fails',
    { programs: { perl: failure } },
    'perl',
    { mark: 'problem', found: 'not usable (Operation not supported; and more)' },
  ],
  [
    'an old HAProxy',
    { programs: { 'haproxy -v': 'HA-Proxy version 2.2.9-2+deb11u6 2024/01/01' } },
    'haproxy',
    { mark: 'problem', found: '2.2.9-2+deb11u6', advice: 'furiwake needs HAProxy 2.6 or newer' },
  ],
  ['a user other than root', { machine: { isRoot: false } }, 'user', { mark: 'problem', found: 'not root' }],
  [
    'root without a capability',
    { files: { '/proc/self/status': 'Name:\tnode\nCapEff:\t000001fffffbff7f\n' } },
    'user',
    { mark: 'problem', found: 'root without CAP_SETUID, CAP_SYS_CHROOT' },
  ],
  [
    'few descriptors',
    { files: { '/proc/self/limits': limits('4096') } },
    'connection limit',
    { mark: 'warning', found: '1536 connections at once (4096 file descriptors)' },
  ],
  [
    'a port that is taken',
    { programs: { 'ss -Hltnp': 'LISTEN 0 128 127.0.0.1:292 0.0.0.0:* users:(("nc",pid=9,fd=3))' } },
    'port of HAProxy',
    { mark: 'problem', found: '127.0.0.1:292 is held by nc (PID 9)' },
  ],
  [
    'a state directory of another program',
    { files: { '/var/lib/furiwake/passwd': '' } },
    'state directory',
    {
      mark: 'problem',
      found:
        '/var/lib/furiwake is not a furiwake state directory (no marker file) and not empty: name an empty or new folder, or that of an earlier furiwake run',
    },
  ],
  [
    'a state directory of a newer release',
    { files: { '/var/lib/furiwake/furiwake-state': '{"file":"furiwake-state","version":99}' } },
    'state directory',
    {
      mark: 'problem',
      found: expect.stringContaining('/var/lib/furiwake belongs to a newer release of furiwake (version 99,'),
    },
  ],
  [
    'a host without an account for HAProxy',
    { files: { '/etc/passwd': 'root:x:0:0:root:/root:/bin/bash\n' } },
    'account',
    {
      mark: 'warning',
      found: 'this host has no account "haproxy": the workers of HAProxy run as root',
      advice: expect.stringContaining('useradd'),
    },
  ],
  [
    'a file in place of the state directory',
    { files: { '/var/lib/furiwake': '' } },
    'state directory',
    { mark: 'problem' },
  ],
  ...['drains', 'ledger', 'listeners', 'tenure', 'without-endpoints'].map(
    (file) =>
      [
        `a newer file (${file}) in a state directory of this release`,
        {
          files: {
            '/var/lib/furiwake/furiwake-state': '{"file":"furiwake-state","version":1}',
            [`/var/lib/furiwake/${file}.jsonl`]: `{"file":"${file}","version":99}\n{}\n`,
          },
        },
        'state directory',
        {
          mark: 'problem',
          found: expect.stringContaining(`/var/lib/furiwake/${file}.jsonl was written by a newer release (version 99,`),
        },
      ] as [string, object, string, object],
  ),
  [
    'a state directory of this release',
    { files: { '/var/lib/furiwake/furiwake-state': '{"file":"furiwake-state","version":1}' } },
    'state directory',
    { mark: 'ok', found: '/var/lib/furiwake' },
  ],
])('%s is found', async (_, scene, what, finding) => {
  expect((await findIn(scene)).filter((each) => each.what === what)).toMatchObject([finding]);
});

test.each([
  ['runs', { command: 'run', pid: 12, stateDir: '/x' }, 'ok', 'furiwake run is running on this host (PID 12)'],
  ['does not say who it is', {}, 'warning', 'one is running on this host and does not answer'],
])('another furiwake that %s is named', async (_, reply, mark, found) => {
  const runFolder = await mkdtemp(path.join(tmpdir(), 'check-'));
  const socket = path.join(runFolder, 'a.sock');
  const { signal } = new AbortController();
  await using _server = await serveHttp({ path: socket }, { 'GET /holder': async () => jsonReply(reply) }, signal);
  const findings = await findIn({ machine: { runFolder }, files: { [socket]: '' } });
  expect(findings).toContainEqual(expect.objectContaining({ what: 'other furiwake', mark, found }));
});

test('programs that are missing are not run', async () => {
  const { text } = await runCheck({ programs: { 'nft --version': missing, 'ss -V': failure } });
  expect(text).toContain('rp_filter');
  expect(text).toMatch(/- TPROXY +not checked: needs nft\n/);
  expect(text).toMatch(/- ss -K +not checked: needs ss\n/);
  expect(text).not.toContain('could not be checked');
});

test.each<[string, CheckScene, string, RegExp]>([
  ['nft does not list', { programs: { 'nft -j list chains': failure } }, 'host firewall', /not supported; and more$/],
  ['ip does not answer in JSON', { programs: { 'ip -json link': 'nonsense' } }, 'kernel settings', /JSON/],
])('where %s, that is a problem, and all else is checked', async (_, scene, what, found) => {
  const findings = await findIn(scene);
  expect(findings.filter((each) => each.what === what && each.mark !== 'ok')).toMatchObject([
    { mark: 'problem', found: expect.stringMatching(found) },
  ]);
  expect(marks(findings)).toEqual({ 'ss -K': 'warning', [what]: 'problem' });
});
