import type { IpRange } from '../core/ip/range.ts';
import type { KubeClient } from '../kube/client.ts';
import { isKubeError, type KubeError, type KubeErrorCode } from '../kube/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { assertNoOverlap, clusterRanges, noServiceCidrWords } from './cluster-ranges.ts';
import { StartError } from './errors.ts';
import { missingRights, showRight } from './rights.ts';

/** Oldest Kubernetes that is served: `ipMode` is stable from it on (KEP-1860). */
export const oldestMinor = 32;

export type ServerVersion = { readonly major: string; readonly minor: string; readonly gitVersion: string };

export type ClusterDeps = {
  readonly client: Pick<KubeClient, 'get' | 'list' | 'create'>;
  /** Its URL, for messages. */
  readonly server: string;
  readonly leaseNamespace: string;
  readonly clock: Clock;
  readonly log: Log;
};

const versionTimeoutMs = 10_000;
const retryFirstMs = 500;
const retryMostMs = 5_000;
/** A server that has just started denies everything until it has read its tokens and roles. */
const youthTries = 3;
const youthRetryMs = 1_500;

/**
 * Waits until the API server answers whatever must be known before anything is decided, saying so; its version. Throws
 * {@link StartError} for what waiting does not cure: an old server, missing rights, addresses that are the cluster's,
 * refusals that come again and again.
 */
export async function prepareCluster(
  deps: ClusterDeps,
  ranges: readonly IpRange[],
  signal: AbortSignal,
): Promise<ServerVersion> {
  return untilAnswered(deps, signal, async () => {
    const version = await readVersion(deps.client, signal);
    await assertUsable(deps, version, signal);
    const { taken, showsServiceCidr } = await clusterRanges(deps.client, signal);
    assertNoOverlap(ranges, taken);
    if (!showsServiceCidr) deps.log.warn({}, `${noServiceCidrWords}: make sure that --addresses lie outside of it`);
    return version;
  });
}

/** Asks once whether we have our rights on a server that is new enough; {@link StartError} for every other outcome. */
export async function assertAccess(deps: ClusterDeps, signal: AbortSignal): Promise<void> {
  try {
    await assertUsable(deps, await readVersion(deps.client, signal), signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!isKubeError(error)) throw error;
    const away = `the API server ${deps.server} does not answer (${error.message}): try again when it does`;
    throw new StartError(lastingTrouble(error, deps.server) ?? away, { cause: error });
  }
}

async function readVersion(client: ClusterDeps['client'], signal: AbortSignal): Promise<ServerVersion> {
  return client.get<ServerVersion>('/version', { signal, timeoutMs: versionTimeoutMs });
}

async function untilAnswered<T>(
  { server, clock, log }: ClusterDeps,
  signal: AbortSignal,
  ask: () => Promise<T>,
): Promise<T> {
  let refusals = 0;
  for (let waitMs = retryFirstMs; ; waitMs = Math.min(waitMs * 2, retryMostMs)) {
    try {
      return await ask();
    } catch (error) {
      signal.throwIfAborted();
      if (!isKubeError(error)) throw error;
      const lasting = lastingTrouble(error, server);
      refusals = lasting === undefined ? 0 : refusals + 1;
      if (lasting !== undefined && refusals >= youthTries) throw new StartError(lasting, { cause: error });
      const retryInMs = lasting === undefined ? Math.max(waitMs, error.retryAfterMs ?? 0) : youthRetryMs;
      log.warn({ server, err: error, retryInMs }, 'waiting for the API server');
      await clock.sleep(retryInMs, signal);
    }
  }
}

/** What to say of an error that waiting does not cure, when it comes again and again; `undefined` for the others. */
function lastingTrouble(error: KubeError, server: string): string | undefined {
  if (isTlsRefusal(error))
    return `the certificate of the API server ${server} is not accepted (${error.message}): check certificate-authority and tls-server-name in the kubeconfig`;
  if (passing.has(error.code)) return undefined;
  if (denials.has(error.code))
    return `the API server ${server} does not accept our credentials (${error.message}): check the user of the kubeconfig, or its token's expiry`;
  return `${server} does not answer as an API server does (${error.message}): check the server in the kubeconfig`;
}

const passing: ReadonlySet<KubeErrorCode> = new Set(['UNREACHABLE', 'TIMEOUT', 'SERVER', 'THROTTLED', 'GONE']);
const denials: ReadonlySet<KubeErrorCode> = new Set(['UNAUTHORIZED', 'CREDENTIALS', 'FORBIDDEN']);
const tlsRefusals: ReadonlySet<unknown> = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_REVOKED',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
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
async function assertUsable(
  { client, leaseNamespace, clock }: ClusterDeps,
  version: ServerVersion,
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
