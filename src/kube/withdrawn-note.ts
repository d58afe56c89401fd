import type { KubeClient } from './client.ts';
import { isKubeError } from './errors.ts';
import { type LeaseObject, withoutKeptAddresses } from './lease-object.ts';
import { resourcePath } from './paths.ts';

const timeoutMs = 3_000;
const mostTries = 3;

/**
 * Removes the note in a Lease that this host has kept its addresses; resolves with whether there was one. Throws `KubeError` when the
 * Lease cannot be read or written.
 */
export async function noteWithdrawn(
  client: Pick<KubeClient, 'get' | 'replace'>,
  { namespace, name, identity }: { readonly namespace: string; readonly name: string; readonly identity: string },
  signal: AbortSignal,
): Promise<boolean> {
  const path = resourcePath({ apiVersion: 'coordination.k8s.io/v1', plural: 'leases' }, { namespace, name });
  for (let tries = 1; ; tries++)
    try {
      const lease = await client.get<LeaseObject>(path, { signal, timeoutMs });
      const without = withoutKeptAddresses(lease, identity);
      if (without === lease) return false;
      await client.replace<LeaseObject>(path, without, { signal, timeoutMs });
      return true;
    } catch (error) {
      if (isKubeError(error, 'NOT_FOUND')) return false;
      if (!isKubeError(error, 'CONFLICT') || tries >= mostTries) throw error;
    }
}
