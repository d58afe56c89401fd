import path from 'node:path';
import type { Lab } from '../../../lab/lab.ts';

/** The lab that all files share; another name runs the suite beside itself. */
export const labName: string = process.env['LAB'] ?? 'e2e';
/** Where the tests' Services and the Pods behind them are. */
export const namespace = 'lbtest';
/** Who furiwake is in the cluster: exactly the rights of `deploy/`. */
export const account = { namespace: 'furiwake-system', name: 'furiwake' } as const;

/** The Lease of the default class. */
export const lease = '/apis/coordination.k8s.io/v1/namespaces/furiwake-system/leases/furiwake-furiwake.dev-haproxy';

/** The bundled furiwake under test, seen by every host under this path. */
export function bundleOf(lab: Lab): string {
  return path.join(lab.folder, 'furiwake.js');
}

/** The kubeconfig of {@link account}. */
export function kubeconfigOf(lab: Lab): string {
  return lab.kubeconfig(`${account.namespace}-${account.name}`);
}
