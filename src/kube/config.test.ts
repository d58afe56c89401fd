import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makePki } from '../../test/make/pki.ts';
import { filesOf, noPrograms } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { type ClusterConfig, loadKubeConfig } from './config.ts';

const { signal } = new AbortController();

type Given = {
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly log?: ReturnType<typeof recordLog>;
};

function load({ files = {}, env = {}, ...given }: Given): Promise<ClusterConfig> {
  const texts = filesOf(new Map(Object.entries(files)));
  return loadKubeConfig({
    log: recordLog(),
    ...given,
    env,
    homeFolder: '/home/me',
    files: texts,
    exec: noPrograms,
    clock: virtualClock(),
  });
}

/** A kubeconfig whose user is `user`. */
function config(user: object, cluster: object = {}, context: object = {}): string {
  return JSON.stringify({
    'current-context': 'lab',
    contexts: [{ name: 'lab', context: { cluster: 'c', user: 'u', ...context } }],
    clusters: [{ name: 'c', cluster: { server: 'https://10.0.0.1:6443', ...cluster } }],
    users: [{ name: 'u', user }],
  });
}

const folder = mkdtempSync(path.join(tmpdir(), 'furiwake-pki-'));
const mine = makePki(folder, 'mine');
afterAll(() => rmSync(folder, { recursive: true }));

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const podFolder = '/var/run/secrets/kubernetes.io/serviceaccount';
const pod = {
  [`${podFolder}/token`]: 'pod-token\n',
  [`${podFolder}/ca.crt`]: mine.ca,
  [`${podFolder}/namespace`]: 'furiwake\n',
};
const podEnv = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };
const from = (server: string): string => config({ token: 't' }, { server });

test.each<[string, Given, string]>([
  [
    'the given path comes first',
    {
      kubeconfig: '/a',
      env: { KUBECONFIG: '/b', ...podEnv },
      files: { '/a': from('https://a'), '/b': from('https://b'), ...pod },
    },
    'https://a',
  ],
  [
    'then KUBECONFIG',
    { env: { KUBECONFIG: '/b', ...podEnv }, files: { '/b': from('https://b'), ...pod } },
    'https://b',
  ],
  [
    'then the Pod',
    { env: podEnv, files: { '/home/me/.kube/config': from('https://home'), ...pod } },
    'https://10.96.0.1:443',
  ],
  ['then the home folder', { files: { '/home/me/.kube/config': from('https://home') } }, 'https://home'],
  [
    'a named context takes precedence over the Pod',
    { context: 'lab', env: podEnv, files: { '/home/me/.kube/config': from('https://home'), ...pod } },
    'https://home',
  ],
  [
    'an IPv6 address of the Pod takes brackets',
    { env: { KUBERNETES_SERVICE_HOST: 'fd00::1' }, files: pod },
    'https://[fd00::1]:443',
  ],
  [
    'a path prefix is kept, the slash at its end is not',
    { kubeconfig: '/a', files: { '/a': from('https://rancher/k8s/clusters/c-1/') } },
    'https://rancher/k8s/clusters/c-1',
  ],
])('%s', async (_name, given, server) => {
  expect((await load(given)).server).toBe(server);
});

test('in a Pod the token, the CA and the namespace are those of its service account', async () => {
  const { credentials, namespace, identity } = await load({ env: podEnv, files: pod });
  expect(await credentials.current(signal)).toEqual({ token: 'pod-token', ca: mine.ca });
  expect([namespace, identity]).toEqual([
    'furiwake',
    'the service account of this Pod (/var/run/secrets/kubernetes.io/serviceaccount)',
  ]);
});

test('several files are merged: the first that defines an entry wins, missing files are ignored', async () => {
  const first = JSON.stringify({ 'current-context': 'b', users: [{ name: 'u', user: { token: 'first' } }] });
  const second = JSON.stringify({
    ...(JSON.parse(config({ token: 'second' })) as object),
    'current-context': 'a',
    contexts: [{ name: 'b', context: { cluster: 'c', user: 'u', namespace: 'ns' } }],
  });
  const { credentials, namespace, identity } = await load({
    kubeconfig: '/none:/1:/2',
    files: { '/1': first, '/2': second },
  });
  expect((await credentials.current(signal)).token).toBe('first');
  expect([namespace, identity]).toEqual(['ns', 'user "u" of context "b" in /1']);
});

test('YAML is supported, and relative paths are relative to the folder of their file', async () => {
  const yaml = `
current-context: lab
contexts: [{name: lab, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://x", certificate-authority: pki/ca.crt, tls-server-name: kubernetes}}]
users: [{name: u, user: {client-certificate: me.crt, client-key-data: ${base64(mine.key)}}}]
preferences: {}
`;
  const given = { '/etc/k8s/config': yaml, '/etc/k8s/pki/ca.crt': mine.ca, '/etc/k8s/me.crt': mine.cert };
  const { credentials, tls } = await load({ kubeconfig: '/etc/k8s/config', files: given });
  expect(await credentials.current(signal)).toEqual({ ...mine, token: undefined });
  expect(tls).toEqual({ insecure: false, serverName: 'kubernetes' });
});

test('a token file takes precedence over a token, and is read again after a minute or when it is rejected', async () => {
  const clock = virtualClock();
  const files = new Map([
    ['/c', config({ token: 'static', tokenFile: '/token' })],
    ['/token', 'one\n'],
  ]);
  const { credentials } = await loadKubeConfig({
    kubeconfig: '/c',
    env: {},
    homeFolder: '/',
    files: filesOf(files),
    exec: noPrograms,
    clock,
    log: recordLog(),
  });
  const first = await credentials.current(signal);
  files.set('/token', 'two\n');
  await clock.advance(59_000);
  expect((await credentials.current(signal)).token).toBe('one');
  expect((await credentials.refresh(first, signal)).token).toBe('two');
  files.set('/token', 'three\n');
  await clock.advance(61_000);
  expect((await credentials.current(signal)).token).toBe('three');
  files.delete('/token'); // in the middle of a rotation
  await clock.advance(61_000);
  expect((await credentials.current(signal)).token).toBe('three');
  const third = await credentials.current(signal);
  await clock.advance(1_000);
  await expect(credentials.refresh(third, signal)).rejects.toThrow('/token: no such file');
});

const broken = (text: string): Given => ({ kubeconfig: '/c', files: { '/c': text } });
test.each<[string, Given, string]>([
  ['no source at all', {}, 'no kubeconfig found: use --kubeconfig, set KUBECONFIG, or create /home/me/.kube/config'],
  ['a path that does not exist', { kubeconfig: '/gone' }, '/gone: no such file; give the path of the kubeconfig'],
  ['broken YAML', broken('a: 1\nb: [c'), '/c is not valid YAML (line 2); correct it'],
  ['a text', broken('garbage'), '/c is not a kubeconfig (expected a YAML mapping)'],
  ['a list', broken('[]'), '/c is not a kubeconfig (expected a YAML mapping)'],
  [
    'another shape',
    broken('{"clusters": [{"name": "c", "cluster": {}}]}'),
    '/c: clusters[0].cluster.server: expected a text',
  ],
  ['another kind', broken('{"clusters": {}}'), '/c: clusters: expected a list'],
  ['an empty list', broken(''), '/c: current-context is not set; select a context with --context'],
  ['an unknown context', { ...broken(config({})), context: 'prod' }, '/c: no context named "prod" (defined: lab)'],
  ['an unknown user', broken(config({}, {}, { user: 'nobody' })), '/c: no user named "nobody" (defined: u)'],
  ['an unknown cluster', broken(config({}, {}, { cluster: 'none' })), '/c: no cluster named "none" (defined: c)'],
  [
    'no URL',
    broken(config({}, { server: '10.0.0.1:6443' })),
    '/c: cluster of context "lab": server "10.0.0.1:6443" is not a valid http or https URL',
  ],
  ['a proxy', broken(config({}, { 'proxy-url': 'http://p' })), 'proxy-url is not supported'],
  [
    'a CA beside insecure-skip-tls-verify',
    broken(config({}, { 'insecure-skip-tls-verify': true, 'certificate-authority-data': 'eA==' })),
    'exclude each other',
  ],
  [
    'a password',
    broken(config({ username: 'me', password: 'x' })),
    'username is not supported; use a token, a client certificate or an exec plugin',
  ],
  ['another identity', broken(config({ token: 't', as: 'admin' })), 'as is not supported'],
  [
    'a certificate without its key',
    broken(config({ 'client-certificate-data': 'eA==' })),
    'client-certificate and client-key belong together',
  ],
  [
    'a file that does not exist',
    broken(config({ 'client-certificate': 'me.crt', 'client-key': 'me.key' })),
    '/c: user "u".client-certificate: /me.crt: no such file',
  ],
  [
    'an empty token file',
    { kubeconfig: '/c', files: { '/c': config({ tokenFile: 't' }), '/t': '\n' } },
    '/c: user "u".tokenFile: /t is empty',
  ],
  [
    'a plugin of an old version',
    broken(config({ exec: { command: 'x', apiVersion: 'client.authentication.k8s.io/v1alpha1' } })),
    '/c: users[0].user.exec.apiVersion: expected one of client.authentication.k8s.io/v1, ',
  ],
  [
    'a CA that is not a certificate',
    broken(config({ token: 't' }, { 'certificate-authority-data': 'eA==' })),
    '/c: certificate-authority of context "lab" is not a certificate in PEM form',
  ],
  [
    'an invalid certificate',
    broken(config({ 'client-certificate-data': 'eA==', 'client-key-data': 'eA==' })),
    '/c: user "u": client-certificate is not a certificate in PEM form',
  ],
  [
    'a Pod whose CA is not a certificate',
    { env: podEnv, files: { ...pod, [`${podFolder}/ca.crt`]: 'x' } },
    '/ca.crt is not a certificate',
  ],
  ['a Pod without its token', { env: podEnv }, '/token: no such file'],
])('%s is one clear line', async (_name, given, message) => {
  const error = await load(given).catch((cause: unknown) => cause as Error);
  expect(error).toMatchObject({ name: 'KubeConfigError', message: expect.stringContaining(message) as string });
  expect((error as Error).message).not.toContain('\n');
});

test('an unreadable file is reported without the message of Node', async () => {
  const files = {
    ...filesOf(new Map()),
    read: () => Promise.reject(Object.assign(new Error("EACCES: permission denied, open '/c'"), { code: 'EACCES' })),
  };
  const options = { kubeconfig: '/c', env: {}, homeFolder: '/', files, exec: noPrograms };
  const loading = loadKubeConfig({ ...options, clock: virtualClock(), log: recordLog() });
  await expect(loading).rejects.toThrow(/^\/c cannot be read: permission denied$/);
});

/** A source over a file that changes, and what it logged. */
async function changing(text: string): Promise<{
  readonly config: ClusterConfig;
  readonly files: Map<string, string>;
  readonly clock: ReturnType<typeof virtualClock>;
  readonly log: ReturnType<typeof recordLog>;
}> {
  const clock = virtualClock();
  const files = new Map([['/c', text]]);
  const log = recordLog();
  const options = { kubeconfig: '/c', env: {}, homeFolder: '/', files: filesOf(files), exec: noPrograms, clock, log };
  return { config: await loadKubeConfig(options), files, clock, log };
}

test('a kubeconfig that is replaced is in use after a minute, at once after a 401, and at once after a reload', async () => {
  const { config: of, files, clock } = await changing(config({ token: 'one' }));
  const { credentials } = of;
  const first = await credentials.current(signal);
  files.set('/c', config({ token: 'two' }));
  await clock.advance(1_000);
  expect((await credentials.current(signal)).token).toBe('one');
  expect((await credentials.refresh(first, signal)).token).toBe('two');
  files.set('/c', config({ token: 'three' }, { 'certificate-authority-data': base64(mine.ca) }));
  await clock.advance(60_000);
  expect(await credentials.current(signal)).toMatchObject({ token: 'three', ca: mine.ca });
  files.set('/c', config({ 'client-certificate-data': base64(mine.cert), 'client-key-data': base64(mine.key) }));
  await credentials.reload(signal);
  expect(await credentials.current(signal)).toEqual({
    cert: mine.cert,
    key: mine.key,
    token: undefined,
    ca: undefined,
  });
});

test('a replaced kubeconfig that is broken, or of another server, changes nothing and is logged at growing intervals', async () => {
  const { config: of, files, clock, log } = await changing(config({ token: 'one' }));
  const { credentials } = of;
  files.set('/c', 'garbage');
  await clock.advance(60_000);
  expect((await credentials.current(signal)).token).toBe('one');
  await expect(credentials.reload(signal)).rejects.toThrow('/c is not a kubeconfig');
  files.set('/c', config({ token: 'stolen' }, { server: 'https://elsewhere' }));
  await expect(credentials.reload(signal)).rejects.toThrow(/another server .*restart furiwake/);
  for (let minute = 0; minute < 10; minute += 1) {
    await clock.advance(60_000);
    expect((await credentials.current(signal)).token).toBe('one');
  }
  const warnings = log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message);
  expect(new Set(warnings)).toEqual(new Set(['renewing the credentials failed; retrying']));
  expect(warnings.length).toBeLessThan(7);
  files.set('/c', config({ token: 'two' }));
  await clock.advance(300_000);
  expect((await credentials.current(signal)).token).toBe('two');
});

test('however often the server answers 401, files are read at most once a second', async () => {
  const { config: of, files, clock } = await changing(config({ token: 'one' }));
  const { credentials } = of;
  let used = await credentials.current(signal);
  let loads = 0;
  for (let request = 0; request < 50; request += 1) {
    await clock.advance(100);
    files.set('/c', config({ token: `t${request}` }));
    const next = await credentials.refresh(used, signal);
    if (next !== used) loads += 1;
    used = next;
  }
  expect(loads).toBeLessThanOrEqual(5);
});

test.each<[string, string, number]>([
  ['http to another host', config({ token: 't' }, { server: 'http://10.0.0.1:8080' }), 1],
  ['http without a token', config({}, { server: 'http://10.0.0.1:8080' }), 0],
  ['http on loopback', config({ token: 't' }, { server: 'http://127.0.0.1:8080' }), 0],
  ['http on IPv6 loopback', config({ token: 't' }, { server: 'http://[::1]:8080' }), 0],
  ['a server that is not verified', config({ token: 't' }, { 'insecure-skip-tls-verify': true }), 1],
  ['https', config({ token: 't' }), 0],
])('%s causes at most one warning', async (_, text, times) => {
  const { config: of, clock, log } = await changing(text);
  await clock.advance(61_000);
  await of.credentials.current(signal);
  expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(times);
});
