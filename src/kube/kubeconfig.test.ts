import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import { FileError } from '../ports/files.ts';
import { type Given, kubeconfigOf, load } from '../../test/make/kubeconfig.ts';
import { makePki } from '../../test/make/pki.ts';
import { filesOf, noPrograms } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { loadKubeConfig } from './config.ts';

const { signal } = new AbortController();

const folder = mkdtempSync(path.join(tmpdir(), 'furiwake-pki-'));
const mine = makePki(folder, 'mine');
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => void vi.restoreAllMocks());

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const podFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

test('several files are merged: the first that defines an entry wins, missing files are ignored', async () => {
  const first = JSON.stringify({ 'current-context': 'b', users: [{ name: 'u', user: { token: 'first' } }] });
  const second = JSON.stringify({
    ...(JSON.parse(kubeconfigOf({ token: 'second' })) as object),
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

const podEnv = { KUBERNETES_SERVICE_HOST: '10.96.0.1' };
const broken = (text: string): Given => ({ kubeconfig: '/c', files: { '/c': text } });
test.each<[string, Given, string]>([
  ['no source at all', {}, 'no kubeconfig found: use --kubeconfig, set KUBECONFIG, or create /home/me/.kube/config'],
  ['a path that does not exist', { kubeconfig: '/gone' }, '/gone: no such file; give the path of the kubeconfig'],
  ['broken YAML', broken('a: 1\nb: [c'), '/c is not valid YAML (line 2); correct it'],
  [
    'a template that was not filled in',
    broken('{"users": [{"name": "u", "user": {"token": {{ token }}}}]}'),
    '/c: users',
  ],
  [
    'a value that begins with an asterisk',
    broken('{"users": [{"name": "u", "user": {"token": *abc}}]}'),
    '/c is not valid YAML: an alias (*name) cannot be resolved; put a value that begins with * in quotes',
  ],
  [
    'a manifest of several objects',
    broken('apiVersion: v1\n---\napiVersion: v1\n'),
    '/c is not a kubeconfig (expected one YAML document)',
  ],
  ['a text', broken('garbage'), '/c is not a kubeconfig (expected a YAML mapping)'],
  ['a list', broken('[]'), '/c is not a kubeconfig (expected a YAML mapping)'],
  [
    'another shape',
    broken('{"clusters": [{"name": "c", "cluster": {}}]}'),
    '/c: clusters[0].cluster.server: expected a text',
  ],
  ['another kind', broken('{"clusters": {}}'), '/c: clusters: expected a list'],
  ['an empty list', broken(''), '/c: current-context is not set; select a context with --context'],
  [
    'an unknown context',
    { ...broken(kubeconfigOf({})), context: 'prod' },
    '/c: no context named "prod" (defined: lab)',
  ],
  ['an unknown user', broken(kubeconfigOf({}, {}, { user: 'nobody' })), '/c: no user named "nobody" (defined: u)'],
  ['an unknown cluster', broken(kubeconfigOf({}, {}, { cluster: 'none' })), '/c: no cluster named "none" (defined: c)'],
  [
    'no URL',
    broken(kubeconfigOf({}, { server: '10.0.0.1:6443' })),
    '/c: cluster of context "lab": server "10.0.0.1:6443" is not a valid http or https URL',
  ],
  ['a proxy', broken(kubeconfigOf({}, { 'proxy-url': 'http://p' })), 'proxy-url is not supported'],
  [
    'a CA beside insecure-skip-tls-verify',
    broken(kubeconfigOf({}, { 'insecure-skip-tls-verify': true, 'certificate-authority-data': 'eA==' })),
    'exclude each other',
  ],
  [
    'a password',
    broken(kubeconfigOf({ username: 'me', password: 'x' })),
    'username is not supported; use a token, a client certificate or an exec plugin',
  ],
  ['another identity', broken(kubeconfigOf({ token: 't', as: 'admin' })), 'as is not supported'],
  [
    'a certificate without its key',
    broken(kubeconfigOf({ 'client-certificate-data': 'eA==' })),
    'client-certificate and client-key belong together',
  ],
  [
    'a file that does not exist',
    broken(kubeconfigOf({ 'client-certificate': 'me.crt', 'client-key': 'me.key' })),
    '/c: user "u".client-certificate: /me.crt: no such file',
  ],
  [
    'an empty token file',
    { kubeconfig: '/c', files: { '/c': kubeconfigOf({ tokenFile: 't' }), '/t': '\n' } },
    '/c: user "u".tokenFile: /t is empty',
  ],
  [
    'a plugin of an old version',
    broken(kubeconfigOf({ exec: { command: 'x', apiVersion: 'client.authentication.k8s.io/v1alpha1' } })),
    '/c: users[0].user.exec.apiVersion: expected one of client.authentication.k8s.io/v1, ',
  ],
  [
    'a CA that is not a certificate',
    broken(kubeconfigOf({ token: 't' }, { 'certificate-authority-data': 'eA==' })),
    '/c: certificate-authority of context "lab" is not a certificate in PEM form',
  ],
  [
    'an invalid certificate',
    broken(kubeconfigOf({ 'client-certificate-data': 'eA==', 'client-key-data': 'eA==' })),
    '/c: user "u": client-certificate is not a certificate in PEM form',
  ],
  [
    'a Pod whose CA is not a certificate',
    { env: podEnv, files: { [`${podFolder}/token`]: 't', [`${podFolder}/ca.crt`]: 'x' } },
    '/ca.crt is not a certificate',
  ],
  ['a Pod without its token', { env: podEnv }, '/token: no such file'],
])('%s is one clear line', async (_name, given, message) => {
  const warn = vi.spyOn(process, 'emitWarning');
  const error = await load(given).catch((cause: unknown) => cause as Error);
  expect(warn).not.toHaveBeenCalled();
  expect(error).toMatchObject({ name: 'KubeConfigError', message: expect.stringContaining(message) as string });
  expect((error as Error).message).not.toContain('\n');
});

test.each([
  ['EACCES', 'permission denied', 'permission denied'],
  ['EISDIR', 'illegal operation on a directory', 'it is a directory'],
])('a file that cannot be read because of %s is reported without the message of Node', async (code, words, said) => {
  const files = {
    ...filesOf(new Map()),
    read: () => Promise.reject(new FileError('cannot read /c', { code, words, cause: undefined })),
  };
  const options = { kubeconfig: '/c', env: {}, homeFolder: '/', files, exec: noPrograms };
  const loading = loadKubeConfig({ ...options, clock: virtualClock(), log: recordLog() });
  await expect(loading).rejects.toThrow(new RegExp(`^/c cannot be read: ${said}$`));
});
