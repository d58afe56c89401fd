import { parseIp } from '../core/ip/ip.ts';
import { formatRange, type IpRange, parseCidr, rangeOf, rangesOverlap } from '../core/ip/range.ts';
import type { KubeClient } from '../kube/client.ts';
import { isKubeError } from '../kube/errors.ts';
import { type KubeObject, objectKey } from '../kube/object.ts';
import { resourcePath } from '../kube/paths.ts';
import { StartError } from './errors.ts';
import { listAll } from './list-all.ts';

type ServiceCidr = KubeObject & { readonly spec?: { readonly cidrs?: readonly string[] } };
type WireNode = KubeObject & { readonly spec?: { readonly podCIDRs?: readonly string[] } };
type WireService = KubeObject & { readonly spec?: { readonly clusterIPs?: readonly string[] } };

/** Addresses of the cluster that must not be assigned. */
export type ClusterRange = { readonly what: string; readonly range: IpRange };

/**
 * Service CIDRs (networking.k8s.io/v1, or v1beta1 before 1.33) and the nodes' Pod CIDRs. A cluster may not show its
 * Service CIDR (1.32 by default): the addresses of its Services replace it then, and `serviceCidrs` is empty.
 */
export async function clusterRanges(
  client: Pick<KubeClient, 'list'>,
  signal: AbortSignal,
): Promise<{ readonly used: readonly ClusterRange[]; readonly serviceCidrs: readonly IpRange[] }> {
  const services = (await listServiceCidrs(client, signal)).flatMap(({ spec }) =>
    rangesIn('the Service CIDR', spec?.cidrs ?? []),
  );
  const pods: ClusterRange[] = [];
  for await (const { metadata, spec } of listAll<WireNode>(client, { apiVersion: 'v1', plural: 'nodes' }, signal))
    pods.push(...rangesIn(`the Pod CIDR of node ${metadata.name}`, spec?.podCIDRs ?? []));
  return {
    used: [...services, ...pods, ...(services.length > 0 ? [] : await clusterIps(client, signal))],
    serviceCidrs: services.map(({ range }) => range),
  };
}

export const noServiceCidrWords = 'the cluster does not show its Service CIDR (before Kubernetes 1.33 it need not)';

function rangesIn(what: string, texts: readonly string[]): readonly ClusterRange[] {
  return texts.flatMap((text) => {
    const range = parseCidr(text);
    return range === undefined ? [] : { what: `${what} ${text}`, range };
  });
}

async function listServiceCidrs(
  client: Pick<KubeClient, 'list'>,
  signal: AbortSignal,
): Promise<readonly ServiceCidr[]> {
  for (const apiVersion of ['networking.k8s.io/v1', 'networking.k8s.io/v1beta1']) {
    try {
      return (await client.list<ServiceCidr>(resourcePath({ apiVersion, plural: 'servicecidrs' }), { signal })).items;
    } catch (error) {
      if (!isKubeError(error, 'NOT_FOUND')) throw error;
    }
  }
  return [];
}

/** Every cluster has at least the one of default/kubernetes. */
async function clusterIps(client: Pick<KubeClient, 'list'>, signal: AbortSignal): Promise<readonly ClusterRange[]> {
  const found: ClusterRange[] = [];
  const resource = { apiVersion: 'v1', plural: 'services' };
  for await (const { metadata, spec } of listAll<WireService>(client, resource, signal)) {
    for (const ip of (spec?.clusterIPs ?? []).flatMap((text) => parseIp(text) ?? []))
      found.push({ what: `the clusterIP ${ip.text} of Service ${objectKey(metadata)}`, range: rangeOf(ip) });
  }
  return found;
}

/** Throws {@link StartError} if a range of the pool overlaps one of the cluster's. */
export function assertNoOverlap(ranges: readonly IpRange[], used: readonly ClusterRange[]): void {
  for (const range of ranges) {
    const clash = used.find((each) => rangesOverlap(range, each.range));
    if (clash !== undefined)
      throw new StartError(
        `--addresses: ${formatRange(range)} overlaps ${clash.what}: use addresses that the cluster does not use itself`,
      );
  }
}
