import { copyFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Lab } from '../../lab/lab.ts';
import { until } from '../../lab/machine/until.ts';
import { checkRuns } from '../../lab/network/part.ts';
import { account, bundleOf, kubeconfigOf } from '../e2e/harness/names.ts';

const root = path.join(import.meta.dirname, '..', '..');

/** The pool: addresses of the nodes' LAN, as at most sites. The client is in another network. */
const addresses = '192.0.2.200-192.0.2.220';

/** Starts furiwake (`bundle`) on lb1 as `docs/getting-started.md` does; resolves when it is ready. */
export async function startFuriwake(lab: Lab, bundle: string, signal: AbortSignal): Promise<void> {
  const balancer = lab.host('lb1');
  await copyFile(bundle, bundleOf(lab));
  await lab.apply(await readFile(path.join(root, 'deploy', 'furiwake.yaml'), 'utf8'));
  await lab.serviceAccountKubeconfig(account.namespace, account.name);
  const flags = ['--kubeconfig', kubeconfigOf(lab), '--addresses', addresses];
  const part = await balancer.spawn('furiwake', [process.execPath, bundleOf(lab), 'run', ...flags]);
  const isReady = async (): Promise<boolean> => {
    await checkRuns(lab.folder, part.name);
    const ready = ['curl', '--silent', '--fail', '--max-time', '2', 'http://127.0.0.1:9470/readyz'];
    return (await balancer.exec(ready, { signal })).stdout.startsWith('ok');
  };
  await until('furiwake to be ready', isReady, { signal });
}
