import { messageOf } from '../../async/error-words.ts';
import type { KubeClient } from '../../kube/client.ts';
import { isKubeError } from '../../kube/errors.ts';
import { keptAddressesOf, type LeaseObject, leaseBody } from '../../kube/lease-object.ts';
import { resourcePath } from '../../kube/paths.ts';
import { leaseName } from '../../daemon/lease-name.ts';
import { keptAddresses, noNamespaceAdvice } from '../../daemon/lease-words.ts';
import type { RunOptions } from '../options.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

const resource = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' };

/**
 * Whether the Lease can be acquired, and who holds it. `identity`: the name of this host in it. Creating it is only
 * tried (`dryRun`): nothing is changed.
 */
export async function checkLease(
  client: Pick<KubeClient, 'get' | 'create'>,
  { leaseNamespace: namespace, loadBalancerClass }: Pick<RunOptions, 'leaseNamespace' | 'loadBalancerClass'>,
  identity: string,
  signal: AbortSignal,
): Promise<Finding> {
  const name = leaseName(loadBalancerClass);
  const shown = `${namespace}/${name}`;
  const body = leaseBody({ namespace, name, base: undefined, identity: '', durationSeconds: 1, nowMs: 0 });
  try {
    await client.create(resourcePath(resource, { namespace }), body, { signal, query: { dryRun: 'All' } });
    return ok(`${shown} can be created`);
  } catch (error) {
    if (isKubeError(error, 'NOT_FOUND')) return problem(`namespace ${namespace} does not exist`, noNamespaceAdvice);
    if (isKubeError(error, 'FORBIDDEN', 'INVALID'))
      return problem(`${shown} cannot be created: ${messageOf(error)}`, 'the message of the API server says why');
    if (!isKubeError(error, 'ALREADY_EXISTS')) throw error;
  }
  const lease = await client.get<LeaseObject>(resourcePath(resource, { namespace, name }), { signal });
  const { spec } = lease;
  const holder = spec.holderIdentity ?? '';
  if (holder === '' || holder === identity) {
    const state = `${shown} is ${holder === '' ? 'free' : 'held by this host'}`;
    const keeper = keptAddressesOf(lease).find((each) => each !== identity);
    if (keeper === undefined) return ok(state);
    const { words, advice } = keptAddresses(keeper, { namespace, name }, identity);
    return warning(`${state}, but ${words}`, advice);
  }
  return warning(
    `${shown} is held by another furiwake, ${holder}, renewed at ${spec.renewTime ?? 'an unknown time'}`,
    'a furiwake here waits until that one ends, or has been silent for 15 s',
  );
}
