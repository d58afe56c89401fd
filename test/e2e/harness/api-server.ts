import type { Lab } from '../../../lab/lab.ts';
import { eventually } from './eventually.ts';

/**
 * Stops the API server, and the controller manager with it: in a cluster it holds a Lease, and ends when it cannot
 * renew it. If it kept running, it would use outdated data when the API server is back, consider all nodes dead, and
 * remove the endpoints of every Service.
 */
export async function stopApiServer(lab: Lab): Promise<void> {
  await lab.stopPart('controller-manager', { graceMs: 0 });
  await lab.stopPart('apiserver', { graceMs: 0 });
}

/**
 * Starts both again, and restarts each kube-proxy: in an outage its pauses between two attempts grow to up to a minute.
 * Its rules stay in the kernel meanwhile.
 */
export async function startApiServer(lab: Lab): Promise<void> {
  await lab.startPart('apiserver');
  await lab.startPart('controller-manager');
  for (const node of ['n1', 'n2']) {
    await lab.stopPart(`${node}-kube-proxy`);
    await startKubeProxy(lab, node);
  }
}

/** Resolves when it is healthy. */
export async function startKubeProxy(lab: Lab, node: string): Promise<void> {
  await lab.startPart(`${node}-kube-proxy`);
  const isHealthy = ['curl', '--silent', '--fail', '--max-time', '2', 'http://127.0.0.1:10256/healthz'];
  await eventually(() => lab.host(node).exec(isHealthy));
}
