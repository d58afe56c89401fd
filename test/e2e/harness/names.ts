import path from 'node:path';
import type { Lab } from '../../../lab/lab.ts';

/** With another name a second suite can run at the same time. */
const suite = process.env['LAB'] ?? 'e2e';

/** The name of the lab of a worker, from 1: files run side by side, each in a lab that it has to itself. */
export function labOfWorker(worker: number): string {
  return worker === 1 ? suite : `${suite}w${worker}`;
}

/** The lab of this worker. */
export const labName: string = labOfWorker(Number(process.env['VITEST_POOL_ID'] ?? 1));
/** The namespace of the tests' Services and their Pods. */
export const namespace = 'lbtest';
/** The Pods of {@link namespace} in the API. */
export const pods: string = `/api/v1/namespaces/${namespace}/pods`;
/** The account of furiwake in the cluster, with exactly the permissions of `deploy/`. */
export const account = { namespace: 'furiwake-system', name: 'furiwake' } as const;

/** The Lease of the default class. */
export const lease = '/apis/coordination.k8s.io/v1/namespaces/furiwake-system/leases/furiwake-furiwake.dev-haproxy';

/** The bundled furiwake under test, at this path on every host. */
export function bundleOf(lab: Lab): string {
  return path.join(lab.folder, 'furiwake.js');
}

/** The kubeconfig of {@link account}. */
export function kubeconfigOf(lab: Lab): string {
  return lab.kubeconfig(`${account.namespace}-${account.name}`);
}
