import type { KubeClient } from '../kube/client.ts';
import { resourcePath } from '../kube/paths.ts';

/** One permission that furiwake uses; `deploy/` grants exactly these. `isLocal`: only in the Lease's namespace. */
export type Right = {
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly verb: string;
  readonly isLocal?: true;
};

export const rights: readonly Right[] = [
  { group: '', resource: 'services', verb: 'list' },
  { group: '', resource: 'services', verb: 'watch' },
  { group: '', resource: 'services', verb: 'patch' },
  { group: '', resource: 'services', subresource: 'status', verb: 'patch' },
  { group: '', resource: 'nodes', verb: 'list' },
  { group: '', resource: 'nodes', verb: 'watch' },
  { group: 'discovery.k8s.io', resource: 'endpointslices', verb: 'list' },
  { group: 'discovery.k8s.io', resource: 'endpointslices', verb: 'watch' },
  { group: 'networking.k8s.io', resource: 'servicecidrs', verb: 'list' },
  { group: 'events.k8s.io', resource: 'events', verb: 'create' },
  { group: 'events.k8s.io', resource: 'events', verb: 'patch' },
  { group: 'coordination.k8s.io', resource: 'leases', verb: 'get', isLocal: true },
  { group: 'coordination.k8s.io', resource: 'leases', verb: 'create', isLocal: true },
  { group: 'coordination.k8s.io', resource: 'leases', verb: 'update', isLocal: true },
];

/** `patch services/status`, `get leases.coordination.k8s.io in furiwake-system`. */
export function showRight({ group, resource, subresource, verb, isLocal }: Right, leaseNamespace: string): string {
  const name = `${resource}${group === '' ? '' : `.${group}`}${subresource === undefined ? '' : `/${subresource}`}`;
  return `${verb} ${name}${isLocal === true ? ` in ${leaseNamespace}` : ''}`;
}

/** What to do about these, which are missing. */
export function rightsAdvice(missing: readonly Right[]): string {
  return missing.every(({ isLocal }) => isLocal === true)
    ? 'check --lease-namespace: it must be the namespace in which deploy/furiwake.yaml grants access to Leases'
    : 'run: kubectl apply --filename deploy/furiwake.yaml, and use the kubeconfig of its ServiceAccount';
}

const reviews = resourcePath({ apiVersion: 'authorization.k8s.io/v1', plural: 'selfsubjectaccessreviews' });

/** Asks the API server for each permission (SelfSubjectAccessReview); returns the missing ones. */
export async function missingRights(
  client: Pick<KubeClient, 'create'>,
  leaseNamespace: string,
  signal: AbortSignal,
): Promise<readonly Right[]> {
  const ask = async (right: Right): Promise<readonly Right[]> => {
    const { isLocal, ...attributes } = right;
    const body = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: isLocal === true ? { ...attributes, namespace: leaseNamespace } : attributes },
    };
    const { status } = await client.create<{ readonly status?: { readonly allowed?: boolean } }>(reviews, body, {
      signal,
    });
    return status?.allowed === true ? [] : [right];
  };
  return (await Promise.all(rights.map(ask))).flat();
}
