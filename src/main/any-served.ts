import { projectService } from '../api/service.ts';
import { belongsTo } from '../core/addresses/eligibility.ts';
import { ownFinalizer } from '../core/model/contract.ts';
import type { Site } from '../core/model/site.ts';
import { listAll } from '../daemon/list-all.ts';
import type { KubeClient } from '../kube/client.ts';
import type { KubeObject } from '../kube/object.ts';
import type { Clock } from '../ports/clock.ts';

const services = { apiVersion: 'v1', plural: 'services' };
const answerMs = 5_000;

/**
 * Whether a furiwake may serve Services of this class and these namespaces now: one of them has its finalizer, or the API server
 * does not answer within 5 s.
 */
export async function isAnyServed(
  { client, site, clock }: { readonly client: Pick<KubeClient, 'list'>; readonly site: Site; readonly clock: Clock },
  signal: AbortSignal,
): Promise<boolean> {
  using deadline = clock.deadline(answerMs, signal);
  try {
    for await (const wire of listAll<KubeObject>(client, services, deadline.signal)) {
      const service = projectService(wire);
      if (service.finalizers.includes(ownFinalizer) && belongsTo(service, site)) return true;
    }
    return false;
  } catch {
    signal.throwIfAborted();
    return true;
  }
}
