import { rootCertificates } from 'node:tls';
import { expect, test } from 'vitest';
import { kubeconfigOf } from '../../test/make/kubeconfig.ts';
import { filesOf, noPrograms } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock, type VirtualClock } from '../../test/sim/virtual-clock.ts';
import { type Exec, ExecError } from '../ports/exec.ts';
import { type ClusterConfig, loadKubeConfig } from './config.ts';
import { noAnswer } from './reachability.ts';

const { signal } = new AbortController();

/** The source of credentials of a kubeconfig whose user has this plugin; `run` stands for the program. */
async function credentialsOf(
  exec: object,
  run: Exec['run'],
  { clock = virtualClock(), cluster = {} }: { clock?: VirtualClock; cluster?: object } = {},
): Promise<ClusterConfig['credentials']> {
  const files = filesOf(new Map([['/c', kubeconfigOf({ exec }, cluster)]]));
  const config = await loadKubeConfig({
    kubeconfig: '/c',
    env: {},
    homeFolder: '/',
    files,
    exec: { ...noPrograms, run },
    clock,
    log: recordLog(),
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

test('an exec plugin runs at the first request, again when its credentials expire, and when they are rejected', async () => {
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
  const all = await Promise.all([credentials.current(signal), credentials.current(signal)]);
  expect(all.map(({ token, ca }) => [token, ca])).toEqual([
    ['t1', aCa],
    ['t1', aCa],
  ]);
  await clock.advance(580_000);
  expect((await credentials.current(signal)).token).toBe('t1');
  await clock.advance(15_000);
  const second = await credentials.current(signal);
  expect(second.token).toBe('t2');
  expect(await credentials.refresh(second, signal)).toBe(second); // no more often than every ten seconds
  await clock.advance(10_000);
  const [third, same] = await Promise.all([credentials.refresh(second, signal), credentials.refresh(second, signal)]);
  expect([third.token, same.token]).toEqual(['t3', 't3']);
  expect((await credentials.refresh(second, signal)).token).toBe('t3'); // obtained already
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
    'its own failure, with its hint',
    () => Promise.reject(new ExecError('get-token', 1, 'not logged\nin')),
    'get-token: not logged in (run login)',
  ],
  ['no JSON', async () => ({ stdout: 'hello', stderr: '' }), 'get-token did not print an ExecCredential with a status'],
  [
    'another version',
    async () => answer({ token: 't' }, 'client.authentication.k8s.io/v1beta1'),
    'printed an ExecCredential of client.authentication.k8s.io/v1beta1, not of',
  ],
  ['no credentials', async () => answer({}), 'printed neither a token nor a certificate'],
  ['half a pair', async () => answer({ clientCertificateData: 'c' }), 'printed a certificate without its key'],
  [
    'an invalid time',
    async () => answer({ token: 't', expirationTimestamp: 'soon' }),
    'printed an invalid expirationTimestamp: soon',
  ],
] as const)('an exec plugin that answers %s is reported', async (_name, run, message) => {
  const credentials = await credentialsOf({ ...plugin, installHint: 'run login' }, run);
  await expect(credentials.current(signal)).rejects.toThrow(`/c: user "u".exec: `);
  await expect(credentials.current(signal)).rejects.toThrow(message);
});

test('a plugin that needs a terminal is refused before it runs', async () => {
  const run: Exec['run'] = async () => answer({ token: 't' });
  const credentials = await credentialsOf({ ...plugin, interactiveMode: 'Always' }, run);
  await expect(credentials.current(signal)).rejects.toThrow('needs a terminal');
});

test('a plugin whose credentials expire at once, e.g. because of a wrong clock, does not run for each request', async () => {
  const clock = virtualClock();
  let runs = 0;
  const run: Exec['run'] = async () => {
    runs += 1;
    return answer({ token: `t${runs}`, expirationTimestamp: '2020-01-01T00:00:00Z' });
  };
  const credentials = await credentialsOf(plugin, run, { clock });
  for (let second = 0; second < 60; second += 1) {
    const used = await credentials.current(signal);
    await credentials.refresh(used, signal); // the server answers 401
    await clock.advance(1_000);
  }
  expect(runs).toBe(6);
});

test('a failing plugin runs again after growing waits, and meanwhile requests fail with its error', async () => {
  const clock = virtualClock();
  const ranAt: number[] = [];
  const run: Exec['run'] = () => {
    ranAt.push(clock.monotonic() / 1000);
    return Promise.reject(new ExecError('get-token', 1, 'no network'));
  };
  const credentials = await credentialsOf(plugin, run, { clock });
  for (let second = 0; second < 300; second += 1) {
    await expect(credentials.current(signal)).rejects.toThrow('no network');
    await clock.advance(1_000);
  }
  expect(ranAt).toEqual([0, 10, 30, 70, 150]);
});

test('errors do not contain the arguments of a plugin, which may be secrets', async () => {
  const run: Exec['run'] = (file) => Promise.reject(new ExecError(file, 1, ''));
  const credentials = await credentialsOf({ ...plugin, args: ['--token=secret'] }, run);
  const error = await credentials.current(signal).catch((cause: unknown) => cause as Error);
  expect((error as Error).message).toBe('/c: user "u".exec: get-token: ended with exit code 1');
  expect(String((error as Error).cause)).not.toContain('secret');
});

test('a plugin that is slower than the deadline of a request runs on, for the next request', async () => {
  const clock = virtualClock();
  let runs = 0;
  const run: Exec['run'] = async (_file, _args, options) => {
    runs += 1;
    await clock.sleep(6_000, options.signal);
    return answer({ token: 't' });
  };
  const credentials = await credentialsOf(plugin, run, { clock });
  const renewal = clock.deadline(5_000, signal);
  const first = credentials.current(renewal.signal).catch((error: unknown) => error);
  await clock.advance(5_000);
  expect(await first).toMatchObject({ name: 'TimeoutError' });
  await clock.advance(1_000);
  expect((await credentials.current(signal)).token).toBe('t');
  expect(runs).toBe(1);
});

test('while a plugin is slow, requests use the credentials of before after a second, and then at once', async () => {
  const clock = virtualClock();
  let runs = 0;
  const run: Exec['run'] = async (_file, _args, options) => {
    runs += 1;
    if (runs > 1) await clock.sleep(30_000, options.signal);
    return answer({ token: `t${runs}`, expirationTimestamp: new Date(clock.now() + 60_000).toISOString() });
  };
  const credentials = await credentialsOf(plugin, run, { clock });
  const tokens: (string | undefined)[] = [];
  const use = async (): Promise<void> => {
    const { token } = await credentials.current(signal);
    tokens.push(token);
  };
  await use();
  await clock.advance(55_000);
  const second = use();
  await clock.advance(999);
  expect(tokens).toEqual(['t1']);
  await clock.advance(1);
  await second;
  await use();
  expect(tokens).toEqual(['t1', 't1', 't1']);
  await clock.advance(29_000);
  await use();
  expect([tokens.at(-1), runs]).toEqual(['t2', 2]);
});

test('a request that waits in vain for rejected credentials says what it waited for', async () => {
  const clock = virtualClock();
  let runs = 0;
  const run: Exec['run'] = async (_file, _args, options) => {
    runs += 1;
    if (runs > 1) await clock.sleep(30_000, options.signal);
    return answer({ token: 't' });
  };
  const credentials = await credentialsOf(plugin, run, { clock });
  const used = await credentials.current(signal);
  await clock.advance(20_000);
  const renewal = clock.deadline(5_000, signal);
  const refused = credentials.refresh(used, renewal.signal).catch(noAnswer);
  await clock.advance(5_000);
  expect(await refused).toMatchObject({
    code: 'TIMEOUT',
    message: 'the credentials of the kubeconfig were not obtained in time',
  });
});

test('requests that stop waiting do not end a plugin; the end of the client does', async () => {
  let ended = 0;
  const started = Promise.withResolvers<void>();
  const run: Exec['run'] = (_file, _args, options) =>
    new Promise((_, reject) => {
      started.resolve();
      options.signal.addEventListener('abort', () => {
        ended += 1;
        reject(options.signal.reason as Error);
      });
    });
  const credentials = await credentialsOf(plugin, run);
  const [first, second] = [new AbortController(), new AbortController()];
  const both = [first, second].map((each) => credentials.current(each.signal).catch((error: unknown) => error));
  await started.promise;
  first.abort(new Error('first gives up'));
  expect([await both[0], ended]).toMatchObject([{ message: 'first gives up' }, 0]);
  credentials.close();
  expect([await both[1], ended]).toMatchObject([{ name: 'AbortError' }, 1]);
});
