import { projectService } from '../api/service.ts';
import { listAll } from '../daemon/list-all.ts';
import type { ServiceWrites } from '../controller/service-writes.ts';
import { belongsTo } from '../core/addresses/eligibility.ts';
import { ownFinalizer } from '../core/model/contract.ts';
import type { Service } from '../core/model/service.ts';
import type { Site } from '../core/model/site.ts';
import { nextWrite } from '../core/status/next-write.ts';
import type { KubeClient } from '../kube/client.ts';
import { isKubeError } from '../kube/errors.ts';
import { type KubeObject, objectKey } from '../kube/object.ts';
import { resourcePath } from '../kube/paths.ts';
import type { Log } from '../ports/log.ts';

const services = { apiVersion: 'v1', plural: 'services' };

export type ReleaseDeps = {
  readonly client: Pick<KubeClient, 'list'>;
  readonly writes: ServiceWrites;
  readonly site: Site;
  readonly log: Log;
};

/**
 * Removes finalizers, addresses and conditions from every Service of this class and these namespaces that has furiwake's
 * finalizer. A Service that fails does not stop the others. Throws `KubeError` when they cannot be listed.
 */
export async function releaseServices(
  deps: ReleaseDeps,
  signal: AbortSignal,
): Promise<{ readonly released: number; readonly failed: readonly string[] }> {
  let released = 0;
  const failed: string[] = [];
  const release = async (wire: KubeObject): Promise<void> => {
    const service = projectService(wire);
    if (!service.finalizers.includes(ownFinalizer) || !belongsTo(service, deps.site)) return;
    try {
      await releaseService(wire, deps, signal);
      released++;
    } catch (error) {
      signal.throwIfAborted();
      deps.log.warn({ service: service.key, err: error }, 'could not release this Service');
      failed.push(objectKey(wire.metadata));
    }
  };
  const wires = listAll<KubeObject>(deps.client, services, signal);
  const releaseNext = async (): Promise<void> => {
    for await (const wire of wires) await release(wire);
  };
  const ends = await Promise.allSettled(Array.from({ length: releasedAtOnce }, releaseNext));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  return { released, failed };
}

/** One that an admission webhook keeps waiting does not hold up the others. */
const releasedAtOnce = 16;

const maxWrites = 4;

/** Writes status and finalizers of one Service until nothing of furiwake is left. */
async function releaseService(
  wire: KubeObject,
  { writes, client }: Pick<ReleaseDeps, 'writes' | 'client'>,
  signal: AbortSignal,
): Promise<void> {
  let service = projectService(wire);
  let version = wire.metadata.resourceVersion ?? '';
  for (let round = 0; round < maxWrites && service.finalizers.includes(ownFinalizer); round++) {
    const write = nextWrite({ service, eligibility: 'leaving', desired: undefined, isProgrammed: false });
    if (write === undefined) break;
    try {
      const answer = (
        write.kind === 'status'
          ? await writes.status(service, write.status, signal)
          : await writes.finalizers(service, version, write.finalizers, signal)
      ) as KubeObject;
      service = projectService(answer);
      version = answer.metadata.resourceVersion ?? '';
    } catch (error) {
      if (isKubeError(error, 'NOT_FOUND') && !(await isThere(service, client, signal))) return; // it was deleted
      throw error;
    }
  }
  if (service.finalizers.includes(ownFinalizer))
    throw new Error('another client keeps writing its status or finalizers');
}

/** After a 404, which an admission webhook may also send. By list, because furiwake has no permission to get a Service. */
async function isThere(
  { name, namespace, uid }: Service,
  client: ReleaseDeps['client'],
  signal: AbortSignal,
): Promise<boolean> {
  const query = { fieldSelector: `metadata.name=${name}` };
  const { items } = await client.list<KubeObject>(resourcePath(services, { namespace }), { signal, query });
  return items.some(({ metadata }) => metadata.uid === uid);
}
