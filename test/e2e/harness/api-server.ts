import type { Lab } from '../../../lab/lab.ts';

/**
 * Takes the API server away, and the controller manager with it: where that holds a Lease, as it does in clusters, it ends
 * by itself when it cannot renew it. One that stayed would go by what it remembers when the API server is back, take all
 * nodes for dead, and take the endpoints from every Service.
 */
export async function stopApiServer(lab: Lab): Promise<void> {
  await lab.stopPart('controller-manager', { graceMs: 0 });
  await lab.stopPart('apiserver', { graceMs: 0 });
}

/** Brings both back. */
export async function startApiServer(lab: Lab): Promise<void> {
  await lab.startPart('apiserver');
  await lab.startPart('controller-manager');
}
