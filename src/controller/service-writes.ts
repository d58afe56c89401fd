import { fieldManager } from '../core/model/contract.ts';
import type { Service } from '../core/model/service.ts';
import type { DesiredStatus } from '../core/status/desired.ts';
import type { KubeClient } from '../kube/client.ts';
import { finalizerPatch, statusBody } from '../kube/write-bodies.ts';
import type { ObjectReference } from '../kube/object.ts';
import { resourcePath } from '../kube/paths.ts';

/** The two writes that furiwake makes to a Service. Both fail (`CONFLICT`, `INVALID`) when it is another object by now. */
export type ServiceWrites = {
  /** Both of our finalizers in one JSON patch that tests uid and resourceVersion. The answer is the new object. */
  finalizers(
    service: Service,
    resourceVersion: string,
    finalizers: readonly string[],
    signal: AbortSignal,
  ): Promise<unknown>;
  /** Forced server-side apply to `/status` with the uid in the body. The answer is the new object. */
  status(service: Service, status: DesiredStatus, signal: AbortSignal): Promise<unknown>;
};

const services = { apiVersion: 'v1', plural: 'services' };

export function makeServiceWrites(client: KubeClient): ServiceWrites {
  return {
    finalizers: ({ namespace, name, uid }, resourceVersion, finalizers, signal) =>
      client.jsonPatch(
        resourcePath(services, { namespace, name }),
        finalizerPatch({ uid, resourceVersion, finalizers }),
        { signal },
      ),
    status: (service, { ingress, conditions }, signal) =>
      client.apply(
        resourcePath(services, { namespace: service.namespace, name: service.name, subresource: 'status' }),
        // Both lists are always present: an empty one clears the field.
        statusBody(referenceTo(service), { loadBalancer: { ingress }, conditions }),
        { fieldManager, force: true, signal },
      ),
  };
}

export function referenceTo({ namespace, name, uid }: Service): ObjectReference {
  return { apiVersion: 'v1', kind: 'Service', namespace, name, uid };
}
