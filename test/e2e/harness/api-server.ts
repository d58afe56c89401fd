import type { Lab } from '../../../lab/lab.ts';

/**
 * Stops the API server, and the controller manager with it: in a cluster it holds a Lease, and ends when it cannot
 * renew it. If it kept running, it would use outdated data when the API server is back, consider all nodes dead, and
 * remove the endpoints of every Service.
 */
export async function stopApiServer(lab: Lab): Promise<void> {
  await lab.stopPart('controller-manager', { graceMs: 0 });
  await lab.stopPart('apiserver', { graceMs: 0 });
}

/** Starts both again. */
export async function startApiServer(lab: Lab): Promise<void> {
  await lab.startPart('apiserver');
  await lab.startPart('controller-manager');
}
