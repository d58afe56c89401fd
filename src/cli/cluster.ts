import { formatRange, type IpRange, parseCidr, rangesOverlap } from '../core/ip/range.ts';
import type { KubeClient } from '../kube/client.ts';
import { isKubeError } from '../kube/errors.ts';
import type { KubeObject } from '../kube/object.ts';
import { resourcePath } from '../kube/paths.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { StartError } from './errors.ts';
import { missingRights, showRight } from './rights.ts';

/** Oldest Kubernetes that is served: `ipMode` is stable from it on (KEP-1860). */
export const oldestMinor = 32;

export type ServerVersion = { readonly major: string; readonly minor: string; readonly gitVersion: string };

const retryFirstMs = 500;
const retryMostMs = 5_000;
/** A server that has just started denies everything until it has read its tokens and roles. */
const youthTries = 3;
const youthRetryMs = 1_500;

/**
 * Waits for the API server to answer, saying so. Throws {@link StartError} for what waiting cannot cure: credentials
 * that are refused again and again (a server that has just started refuses everybody for a moment).
 */
export async function waitForServer(
  client: KubeClient,
  server: string,
  clock: Clock,
  log: Log,
  signal: AbortSignal,
): Promise<ServerVersion> {
  let refusals = 0;
  for (let waitMs = retryFirstMs; ; waitMs = Math.min(waitMs * 2, retryMostMs)) {
    try {
      return await client.get<ServerVersion>('/version', { signal, timeoutMs: 10_000 });
    } catch (error) {
      signal.throwIfAborted();
      const isRefused = isKubeError(error, 'UNAUTHORIZED', 'CREDENTIALS', 'FORBIDDEN') || isTlsRefusal(error);
      refusals = isRefused ? refusals + 1 : 0;
      if (isRefused && refusals >= youthTries) {
        const words = error instanceof Error ? error.message : String(error);
        throw new StartError(
          isTlsRefusal(error)
            ? `the certificate of the API server ${server} is not accepted (${words}): check certificate-authority and tls-server-name in the kubeconfig`
            : `the API server ${server} does not accept our credentials (${words}): check the user of the kubeconfig, or its token's expiry`,
          { cause: error },
        );
      }
      const retryInMs = isRefused ? youthRetryMs : waitMs;
      log.warn({ server, err: error, retryInMs }, 'waiting for the API server');
      await clock.sleep(retryInMs, signal);
    }
  }
}

const tlsRefusals: ReadonlySet<unknown> = new Set([
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** Somewhere below the error the server's certificate was refused by us: no waiting cures that. */
function isTlsRefusal(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && tlsRefusals.has(cause.code)) return true;
  }
  return false;
}

/** Too old a server, or rights that are missing: {@link StartError}, before anything is changed. */
export async function assertUsable(
  client: KubeClient,
  version: ServerVersion,
  leaseNamespace: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  if (isTooOld(version))
    throw new StartError(
      `the API server is Kubernetes ${version.gitVersion}; furiwake needs 1.${oldestMinor} or newer`,
    );
  let missing = await missingRights(client, leaseNamespace, signal);
  for (let tries = 1; missing.length > 0 && tries < youthTries; tries++) {
    await clock.sleep(youthRetryMs, signal);
    missing = await missingRights(client, leaseNamespace, signal);
  }
  if (missing.length > 0)
    throw new StartError(
      `rights are missing: ${missing.map((right) => showRight(right, leaseNamespace)).join(', ')}: apply deploy/ and use the kubeconfig of its ServiceAccount`,
    );
}

export function isTooOld({ major, minor }: ServerVersion): boolean {
  return Number.parseInt(major, 10) === 1 && Number.parseInt(minor, 10) < oldestMinor;
}

type ServiceCidr = KubeObject & { readonly spec?: { readonly cidrs?: readonly string[] } };
type WireNode = KubeObject & { readonly spec?: { readonly podCIDRs?: readonly string[] } };

/** An address range of the cluster that must not be handed out. */
export type ClusterRange = { readonly what: string; readonly range: IpRange };

/** Service CIDRs (networking.k8s.io/v1, or v1beta1 before 1.33) and the nodes' Pod CIDRs. */
export async function clusterRanges(client: KubeClient, signal: AbortSignal): Promise<readonly ClusterRange[]> {
  const found: ClusterRange[] = [];
  const add = (what: string, texts: readonly string[]): void => {
    for (const text of texts) {
      const range = parseCidr(text);
      if (range !== undefined) found.push({ what: `${what} ${text}`, range });
    }
  };
  for (const each of await listServiceCidrs(client, signal)) add('the Service CIDR', each.spec?.cidrs ?? []);
  const nodes = await client.list<WireNode>(resourcePath({ apiVersion: 'v1', plural: 'nodes' }), { signal });
  for (const node of nodes.items) add(`the Pod CIDR of node ${node.metadata.name}`, node.spec?.podCIDRs ?? []);
  return found;
}

async function listServiceCidrs(client: KubeClient, signal: AbortSignal): Promise<readonly ServiceCidr[]> {
  for (const apiVersion of ['networking.k8s.io/v1', 'networking.k8s.io/v1beta1']) {
    try {
      return (await client.list<ServiceCidr>(resourcePath({ apiVersion, plural: 'servicecidrs' }), { signal })).items;
    } catch (error) {
      if (!isKubeError(error, 'NOT_FOUND')) throw error;
    }
  }
  return [];
}

/** Throws {@link StartError} when a range to hand out overlaps one of the cluster's. */
export function assertNoOverlap(ranges: readonly IpRange[], taken: readonly ClusterRange[]): void {
  for (const range of ranges) {
    const clash = taken.find((each) => rangesOverlap(range, each.range));
    if (clash !== undefined)
      throw new StartError(
        `--addresses: ${formatRange(range)} overlaps ${clash.what}: hand out addresses that the cluster does not use itself`,
      );
  }
}
