import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makePki } from '../../test/make/pki.ts';
import { filesOf, noPrograms } from '../../test/sim/harness.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { type ClusterConfig, loadKubeConfig } from './config.ts';

type Given = {
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly kubeconfig?: string;
  readonly context?: string;
};

function load({ files = {}, env = {}, ...given }: Given): Promise<ClusterConfig> {
  const texts = filesOf(new Map(Object.entries(files)));
  return loadKubeConfig({
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
    'the path given goes first',
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
    'a context that is named is no Pod',
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
  expect(await credentials.current()).toEqual({ token: 'pod-token', ca: mine.ca });
  expect([namespace, identity]).toEqual([
    'furiwake',
    'the service account of this Pod (/var/run/secrets/kubernetes.io/serviceaccount)',
  ]);
});

test('several files are one: the first to name a thing wins, those that are not there are left out', async () => {
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
  expect((await credentials.current()).token).toBe('first');
  expect([namespace, identity]).toEqual(['ns', 'user "u" of context "b" in /1']);
});

test('YAML is read too, and relative paths count from the file that they stand in', async () => {
  const yaml = `
current-context: lab
contexts: [{name: lab, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://x", certificate-authority: pki/ca.crt, tls-server-name: kubernetes}}]
users: [{name: u, user: {client-certificate: me.crt, client-key-data: ${base64(mine.key)}}}]
preferences: {}
`;
  const given = { '/etc/k8s/config': yaml, '/etc/k8s/pki/ca.crt': mine.ca, '/etc/k8s/me.crt': mine.cert };
  const { credentials, tls } = await load({ kubeconfig: '/etc/k8s/config', files: given });
  expect(await credentials.current()).toEqual({ ...mine, token: undefined });
  expect(tls).toEqual({ insecure: false, serverName: 'kubernetes' });
});

test('a token file goes before a token, and is read again after a minute or when it is refused', async () => {
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
  });
  const first = await credentials.current();
  files.set('/token', 'two\n');
  await clock.advance(59_000);
  expect((await credentials.current()).token).toBe('one');
  expect((await credentials.refresh(first)).token).toBe('two');
  files.set('/token', 'three\n');
  await clock.advance(61_000);
  expect((await credentials.current()).token).toBe('three');
  files.delete('/token'); // in the middle of a rotation
  await clock.advance(61_000);
  expect((await credentials.current()).token).toBe('three');
  await expect(credentials.refresh(await credentials.current())).rejects.toThrow('/token: no such file');
});

const broken = (text: string): Given => ({ kubeconfig: '/c', files: { '/c': text } });
test.each<[string, Given, string]>([
  [
    'nothing anywhere',
    {},
    'no cluster: there is no /home/me/.kube/config and this is no Pod with a service account; give --kubeconfig or KUBECONFIG',
  ],
  ['a path that is not there', { kubeconfig: '/gone' }, "/gone: no such file; give the kubeconfig's path"],
  ['broken YAML', broken('a: [b'), '/c: Flow sequence'],
  ['another shape', broken('{"clusters": [{"name": "c", "cluster": {}}]}'), '/c: clusters[0].cluster.server: '],
  ['a list of nothing', broken(''), '/c: current-context is not set; name one with --context'],
  [
    'a context that is not there',
    { ...broken(config({})), context: 'prod' },
    '/c: no context named "prod" (there: lab)',
  ],
  ['a user that is not there', broken(config({}, {}, { user: 'nobody' })), '/c: no user named "nobody" (there: u)'],
  [
    'a cluster that is not there',
    broken(config({}, {}, { cluster: 'none' })),
    '/c: no cluster named "none" (there: c)',
  ],
  [
    'no URL',
    broken(config({}, { server: '10.0.0.1:6443' })),
    '/c: cluster of context "lab": server "10.0.0.1:6443" is no http or https URL',
  ],
  ['a proxy', broken(config({}, { 'proxy-url': 'http://p' })), 'proxy-url is not supported'],
  [
    'a CA that is not to be used',
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
    'a file that is not there',
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
    '/c: users[0].user.exec.apiVersion: ',
  ],
  [
    'a CA that is none',
    broken(config({ token: 't' }, { 'certificate-authority-data': 'eA==' })),
    '/c: certificate-authority of context "lab" holds no certificate in PEM form',
  ],
  [
    'a key that is none',
    broken(config({ 'client-certificate-data': 'eA==', 'client-key-data': 'eA==' })),
    '/c: user "u": the client certificate is none in PEM form',
  ],
  [
    'a Pod with a CA that is none',
    { env: podEnv, files: { ...pod, [`${podFolder}/ca.crt`]: 'x' } },
    '/ca.crt holds no',
  ],
  ['a Pod without its token', { env: podEnv }, '/token: no such file'],
])('%s is one clear line', async (_name, given, message) => {
  const error = await load(given).catch((cause: unknown) => cause as Error);
  expect(error).toMatchObject({ name: 'KubeConfigError', message: expect.stringContaining(message) as string });
  expect((error as Error).message).not.toContain('\n');
});
