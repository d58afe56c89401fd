import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { changing, type Given, kubeconfigOf, load } from '../../test/make/kubeconfig.ts';
import { logWarnings } from './config.ts';
import { makePki } from '../../test/make/pki.ts';

const { signal } = new AbortController();

const folder = mkdtempSync(path.join(tmpdir(), 'furiwake-pki-'));
const mine = makePki(folder, 'mine');
afterAll(() => rmSync(folder, { recursive: true }));

const podFolder = '/var/run/secrets/kubernetes.io/serviceaccount';
const pod = {
  [`${podFolder}/token`]: 'pod-token\n',
  [`${podFolder}/ca.crt`]: mine.ca,
  [`${podFolder}/namespace`]: 'furiwake\n',
};
const podEnv = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };
const from = (server: string): string => kubeconfigOf({ token: 't' }, { server });

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

test.each<[string, string, number]>([
  ['http to another host', kubeconfigOf({ token: 't' }, { server: 'http://10.0.0.1:8080' }), 1],
  ['http without a token', kubeconfigOf({}, { server: 'http://10.0.0.1:8080' }), 0],
  ['http on loopback', kubeconfigOf({ token: 't' }, { server: 'http://127.0.0.1:8080' }), 0],
  ['http on IPv6 loopback', kubeconfigOf({ token: 't' }, { server: 'http://[::1]:8080' }), 0],
  ['a server that is not verified', kubeconfigOf({ token: 't' }, { 'insecure-skip-tls-verify': true }), 1],
  ['https', kubeconfigOf({ token: 't' }), 0],
])('%s causes at most one warning, which is logged on request', async (_, text, times) => {
  const { config: of, clock, log } = await changing(text);
  await clock.advance(61_000);
  await of.credentials.current(signal);
  expect(log.lines).toEqual([]);
  expect(of.warnings).toHaveLength(times);
  logWarnings(of, log);
  expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(times);
});
