import { expect, test } from 'vitest';
import { execOf } from '../../../test/make/exec.ts';
import { filesOf } from '../../../test/sim/harness.ts';
import type { LockHolder } from '../../daemon/host-lock.ts';
import { checkHaproxyPort, checkMetricsPort } from './listeners.ts';

const { signal } = new AbortController();
const holder: LockHolder = { command: 'run', pid: 12, stateDir: '/state' };
const files = filesOf(
  new Map([
    ['/proc/20/cmdline', 'haproxy\0-W\0-f\0/run/furiwake/net-1/haproxy/haproxy.cfg\0'],
    ['/proc/21/cmdline', 'haproxy\0-W\0-f\0/state/haproxy/haproxy.cfg\0'],
    ['/proc/30/cmdline', 'haproxy\0-W\0-f\0/old/haproxy/haproxy.cfg\0'],
  ]),
);
const listening = (address: string, name = '', pid = 0): string =>
  `LISTEN 0      128    ${address} 0.0.0.0:*${name === '' ? '' : `    users:(("${name}",pid=${pid},fd=5))`}`;

async function find(lines: readonly string[], host = '127.0.0.1'): Promise<readonly string[]> {
  const exec = execOf(() => `${lines.join('\n')}\n`);
  const findings = [
    await checkHaproxyPort('/state', { exec, files, runFolder: '/run/furiwake/net-1' }, signal),
    await checkMetricsPort({ host, port: 9470 }, { exec, listen: async () => undefined }, holder, signal),
  ];
  return findings.filter(({ mark }) => mark !== 'ok').map(({ mark, found }) => `${mark}: ${found}`);
}

test.each([
  ['no process', [listening('0.0.0.0:22', 'sshd', 1)], []],
  [
    'furiwake itself',
    [
      listening('127.0.0.1:292', 'haproxy', 20),
      listening('[::1]:292', 'haproxy', 20),
      listening('127.0.0.1:9470', 'node', 12),
    ],
    [],
  ],
  ['the HAProxy of release 0.1.0', [listening('127.0.0.1:292', 'haproxy', 21)], []],
  [
    'a HAProxy of another state directory',
    [listening('127.0.0.1:292', 'haproxy', 30)],
    ['problem: 127.0.0.1:292 is held by haproxy (PID 30)'],
  ],
  ['a process on all addresses', [listening('*:292', 'nc', 9)], ['problem: 127.0.0.1:292 is held by nc (PID 9)']],
  ['a process on another address', [listening('192.0.2.51:292', 'nc', 9)], []],
  ['an unknown process', [listening('127.0.0.1:292')], ['problem: 127.0.0.1:292 is held by an unknown process']],
  [
    'a process on the metrics port',
    [listening('[::]:9470', 'exporter', 9)],
    ['problem: 127.0.0.1:9470 is held by exporter (PID 9)'],
  ],
])('the ports that furiwake needs, held by %s', async (_, lines, findings) => {
  expect(await find(lines)).toEqual(findings);
});

test('metrics on all addresses conflict with a listener on one of them', async () => {
  expect(await find([listening('192.0.2.51:9470', 'exporter', 9)], '::')).toEqual([
    'problem: [::]:9470 is held by exporter (PID 9)',
  ]);
});

test('an address that the host does not have, and a name that cannot be resolved, are problems', async () => {
  const exec = execOf(() => '');
  const check = (host: string): Promise<unknown> => checkMetricsPort({ host, port: 9470 }, { exec }, holder, signal);
  expect(await check('192.0.2.99')).toMatchObject({ mark: 'problem', found: 'this host has no address 192.0.2.99' });
  expect(await check('nowhere.invalid')).toMatchObject({
    mark: 'problem',
    found: 'the name nowhere.invalid cannot be resolved',
  });
});
