import type { KubeClient } from '../../kube/client.ts';
import { isKubeError } from '../../kube/errors.ts';
import type { KubeObject } from '../../kube/object.ts';
import { type Finding, ok, warning } from './finding.ts';

/** API groups that belong to another LoadBalancer implementation. */
const products: Readonly<Record<string, string>> = {
  'metallb.io': 'MetalLB',
  'purelb.io': 'PureLB',
  'network.kubesphere.io': 'OpenELB',
  'kube-vip.io': 'kube-vip',
  'bgppeer.loxilb.io': 'kube-loxilb',
  'cilium.io': 'Cilium (its LB-IPAM acts only where a CiliumLoadBalancerIPPool exists)',
};

type NodeWire = KubeObject & { readonly status?: { readonly nodeInfo?: { readonly kubeletVersion?: string } } };

/** Other implementations that may run in the cluster: those with an API group, and k3s by the version of its nodes. */
export async function findOthers(
  client: Pick<KubeClient, 'get'>,
  nodes: readonly NodeWire[],
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const advice =
    'both would serve Services without a class: disable one of them, or run furiwake with --default-class=no';
  const findings: Finding[] = [];
  try {
    const { groups: present = [] } = await client.get<{ readonly groups?: readonly { readonly name: string }[] }>(
      '/apis',
      { signal },
    );
    for (const { name } of present) {
      const product = products[name];
      if (product !== undefined) findings.push(warning(`${product}: the API has its group ${name}`, advice));
    }
  } catch (error) {
    if (!isKubeError(error, 'FORBIDDEN')) throw error;
  }
  const k3s = nodes.find((node) => node.status?.nodeInfo?.kubeletVersion?.includes('+k3s') === true);
  if (k3s !== undefined)
    findings.push(
      warning(
        `k3s on node ${k3s.metadata.name}: its ServiceLB serves Services unless it is disabled`,
        'start k3s with --disable=servicelb, or run furiwake with --default-class=no',
      ),
    );
  return findings.length > 0 ? findings : [ok('none found in the cluster')];
}
