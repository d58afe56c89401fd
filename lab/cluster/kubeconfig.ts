import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { stringify } from 'yaml';

/** Address of the lab's API server, on the LAN. */
export const apiServer = 'https://192.0.2.2:6443';

export function kubeconfigPath(folder: string, user: string): string {
  return path.join(folder, 'kubeconfig', user);
}

/** Writes a self-contained kubeconfig, readable only by its owner; returns its path. */
export async function writeKubeconfig(folder: string, user: string, token: string): Promise<string> {
  const authority = await readFile(path.join(folder, 'pki', 'ca.crt'));
  const file = kubeconfigPath(folder, user);
  const content = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name: 'lab', cluster: { server: apiServer, 'certificate-authority-data': authority.toString('base64') } },
    ],
    users: [{ name: user, user: { token } }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user } }],
    'current-context': 'lab',
  };
  await writeFile(file, stringify(content, { lineWidth: 0 }), { mode: 0o600 });
  return file;
}
