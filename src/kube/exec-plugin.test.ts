import { rootCertificates } from 'node:tls';
import { expect, test } from 'vitest';
import { filesOf, noPrograms } from '../../test/sim/harness.ts';
import { virtualClock, type VirtualClock } from '../../test/sim/virtual-clock.ts';
import { type Exec, ExecError } from '../ports/exec.ts';
import { type ClusterConfig, loadKubeConfig } from './config.ts';

/** The source of credentials of a kubeconfig whose user has this plugin; `run` stands for the program. */
async function credentialsOf(
  exec: object,
  run: Exec['run'],
  { clock = virtualClock(), cluster = {} }: { clock?: VirtualClock; cluster?: object } = {},
): Promise<ClusterConfig['credentials']> {
  const kubeconfig = JSON.stringify({
    'current-context': 'lab',
    contexts: [{ name: 'lab', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster: { server: 'https://10.0.0.1:6443', ...cluster } }],
    users: [{ name: 'u', user: { exec } }],
  });
  const files = filesOf(new Map([['/c', kubeconfig]]));
  const config = await loadKubeConfig({
    kubeconfig: '/c',
    env: {},
    homeFolder: '/',
    files,
    exec: { ...noPrograms, run },
    clock,
  });
  return config.credentials;
}

const [aCa = ''] = rootCertificates;
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const plugin = {
  apiVersion: 'client.authentication.k8s.io/v1',
  command: 'get-token',
  args: ['--cluster', 'x'],
  interactiveMode: 'Never',
};
const answer = (status: object, apiVersion = plugin.apiVersion): { stdout: string; stderr: string } => ({
  stdout: JSON.stringify({ kind: 'ExecCredential', apiVersion, status }),
  stderr: '',
});

test('an exec plugin is run when first asked, kept until its end, and run again when refused', async () => {
  const clock = virtualClock();
  const calls: (readonly [string, readonly string[], Readonly<Record<string, string>> | undefined])[] = [];
  const run: Exec['run'] = async (file, args, { env }) => {
    calls.push([file, args, env]);
    return answer({ token: `t${calls.length}`, expirationTimestamp: new Date(clock.now() + 600_000).toISOString() });
  };
  const config = { ...plugin, env: [{ name: 'REGION', value: 'x' }], provideClusterInfo: true };
  const cluster = { 'certificate-authority-data': base64(aCa) };
  const credentials = await credentialsOf(config, run, { clock, cluster });
  expect(calls).toEqual([]);
  const all = await Promise.all([credentials.current(), credentials.current()]);
  expect(all.map(({ token, ca }) => [token, ca])).toEqual([
    ['t1', aCa],
    ['t1', aCa],
  ]);
  await clock.advance(580_000);
  expect((await credentials.current()).token).toBe('t1');
  await clock.advance(15_000);
  const second = await credentials.current();
  expect(second.token).toBe('t2');
  const [third, same] = await Promise.all([credentials.refresh(second), credentials.refresh(second)]);
  expect([third.token, same.token]).toEqual(['t3', 't3']);
  expect((await credentials.refresh(second)).token).toBe('t3'); // somebody has asked already
  const [file, args, env] = calls[0] ?? [];
  expect([file, args, env?.['REGION']]).toEqual(['get-token', ['--cluster', 'x'], 'x']);
  expect(JSON.parse(env?.['KUBERNETES_EXEC_INFO'] ?? '')).toEqual({
    kind: 'ExecCredential',
    apiVersion: plugin.apiVersion,
    spec: {
      interactive: false,
      cluster: { server: 'https://10.0.0.1:6443', 'certificate-authority-data': base64(aCa) },
    },
  });
});

test.each([
  [
    'its own failure, with the hint',
    () => Promise.reject(new ExecError('get-token', 1, 'not logged\nin')),
    'get-token: not logged in (run login)',
  ],
  ['no JSON', async () => ({ stdout: 'hello', stderr: '' }), 'get-token did not print an ExecCredential with a status'],
  [
    'another version',
    async () => answer({ token: 't' }, 'client.authentication.k8s.io/v1beta1'),
    'answered client.authentication.k8s.io/v1beta1, not',
  ],
  ['nothing to use', async () => answer({}), 'gave neither a token nor a certificate'],
  ['half a pair', async () => answer({ clientCertificateData: 'c' }), 'gave a certificate without its key'],
  ['an end that is no time', async () => answer({ token: 't', expirationTimestamp: 'soon' }), 'is no time: soon'],
] as const)('an exec plugin that answers %s is said to do so', async (_name, run, message) => {
  const credentials = await credentialsOf({ ...plugin, installHint: 'run login' }, run);
  await expect(credentials.current()).rejects.toThrow(`/c: user "u".exec: `);
  await expect(credentials.current()).rejects.toThrow(message);
});

test('a plugin that wants a terminal is refused before it is run', async () => {
  const run: Exec['run'] = async () => answer({ token: 't' });
  const credentials = await credentialsOf({ ...plugin, interactiveMode: 'Always' }, run);
  await expect(credentials.current()).rejects.toThrow('wants a terminal');
});
