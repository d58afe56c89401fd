import { generateKeyPairSync } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { run } from '../machine/run.ts';
import { kubernetesServiceIp } from '../network/address-plan.ts';

const ecKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc', '-days', '3650'];
const ownNames = ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'localhost'];

/** Files of the lab's authority, all in one folder. */
export function pkiFiles(
  folder: string,
): Readonly<Record<'ca' | 'caKey' | 'api' | 'apiKey' | 'saKey' | 'saPublic' | 'tokens', string>> {
  const file = (name: string): string => path.join(folder, 'pki', name);
  return {
    ca: file('ca.crt'),
    caKey: file('ca.key'),
    api: file('api.crt'),
    apiKey: file('api.key'),
    saKey: file('sa.key'),
    saPublic: file('sa.pub'),
    tokens: file('tokens.csv'),
  };
}

/** An account of the API server's static token file; `token` is valid only in this lab, and not secret. */
export type Account = { readonly token: string; readonly user: string; readonly groups: readonly string[] };

/** The accounts of the cluster's own parts and of its administrator, by the name of their kubeconfig. */
export function accountsFor(nodes: readonly string[]): ReadonlyMap<string, Account> {
  const account = (user: string, ...groups: string[]): Account => ({ token: `${user}-token`, user, groups });
  return new Map([
    ['admin', account('admin', 'system:masters')],
    ['controller-manager', account('system:kube-controller-manager')],
    ['scheduler', account('system:kube-scheduler')],
    ['proxy', account('system:kube-proxy')],
    ...nodes.map((node) => [node, account(`system:node:${node}`, 'system:nodes')] as const),
  ]);
}

/**
 * Creates the lab's certificate authority, the API server's certificate, the key of ServiceAccount tokens and the
 * tokens.
 */
export async function makePki(
  folder: string,
  accounts: Iterable<Account>,
  apiIp: string,
  signal: AbortSignal,
): Promise<void> {
  const files = pkiFiles(folder);
  await mkdir(path.dirname(files.ca), { recursive: true, mode: 0o700 });
  const names = [
    ...[apiIp, kubernetesServiceIp, '127.0.0.1'].map((ip) => `IP:${ip}`),
    ...ownNames.map((name) => `DNS:${name}`),
  ];
  const request = (subject: string, key: string, certificate: string, ...more: string[]): Promise<unknown> =>
    run(['openssl', 'req', '-x509', ...ecKey, '-subj', subject, '-keyout', key, '-out', certificate, ...more], {
      signal,
    });
  const signer = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const rows = [...accounts].map(({ token, user, groups }) =>
    [token, user, user, ...(groups.length > 0 ? [`"${groups.join(',')}"`] : [])].join(','),
  );
  await Promise.all([
    writeFile(files.saKey, signer.privateKey.export({ type: 'sec1', format: 'pem' }), { mode: 0o600 }),
    writeFile(files.saPublic, signer.publicKey.export({ type: 'spki', format: 'pem' })),
    writeFile(files.tokens, `${rows.join('\n')}\n`, { mode: 0o600 }),
    request('/CN=lab-authority', files.caKey, files.ca).then(() =>
      request(
        '/CN=kube-apiserver',
        files.apiKey,
        files.api,
        '-CA',
        files.ca,
        '-CAkey',
        files.caKey,
        '-addext',
        `subjectAltName=${names.join(',')}`,
        '-addext',
        'extendedKeyUsage=serverAuth,clientAuth',
        '-addext',
        'basicConstraints=critical,CA:FALSE',
      ),
    ),
  ]);
}
