import { messageOf } from '../async/error-words.ts';
import { assertNever } from '../core/assert-never.ts';
import type { IpRange } from '../core/ip/range.ts';
import type { KubeClient } from '../kube/client.ts';
import { isKubeError, type KubeError } from '../kube/errors.ts';
import { makeBackoff } from '../async/backoff.ts';
import { makeTrouble } from '../async/trouble.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { assertNoOverlap, clusterRanges, noServiceCidrWords } from './cluster-ranges.ts';
import { StartError } from './errors.ts';
import { missingRights, rightsAdvice, showRight } from './rights.ts';

/** Oldest supported Kubernetes: `ipMode` is stable since then (KEP-1860). */
export const oldestMinor = 32;

export type ServerVersion = { readonly major: string; readonly minor: string; readonly gitVersion: string };

export type ClusterDeps = {
  readonly client: Pick<KubeClient, 'get' | 'list' | 'create'>;
  /** URL of the API server, for messages. */
  readonly server: string;
  readonly leaseNamespace: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Called with each reason why the server does not answer yet. */
  readonly onTrouble?: (words: string) => void;
};

const versionTimeoutMs = 10_000;
/** Of attempts whose requests are repeated at shorter intervals (client.ts). */
const retryMs = { firstMs: 500, mostMs: 5_000 };
/** A server that has just started rejects everything until it has read its tokens and roles. */
const startTries = 3;
const youthRetryMs = 1_500;

/** What furiwake knows of the cluster before its first decision. */
export type ClusterFacts = ServerVersion & {
  /** Empty if the cluster does not show them. */
  readonly serviceCidrs: readonly IpRange[];
};

/**
 * Waits until the API server has answered everything that furiwake must know before its first decision. Throws
 * {@link StartError} for faults that waiting does not solve: an old server, missing permissions, addresses that overlap
 * the cluster's, repeated refusals.
 */
export async function prepareCluster(
  deps: ClusterDeps,
  ranges: readonly IpRange[],
  signal: AbortSignal,
): Promise<ClusterFacts> {
  return untilAnswered(deps, signal, async () => {
    const version = await readVersion(deps.client, signal);
    await assertUsable(deps, version, signal);
    const { used, serviceCidrs } = await clusterRanges(deps.client, signal);
    assertNoOverlap(ranges, used);
    if (serviceCidrs.length === 0)
      deps.log.warn({}, `${noServiceCidrWords}: make sure that --addresses lie outside of it`);
    return { ...version, serviceCidrs };
  });
}

/**
 * Checks once whether the server is new enough and grants all permissions; throws {@link StartError} for every other
 * outcome.
 */
export async function assertAccess(deps: ClusterDeps, signal: AbortSignal): Promise<void> {
  try {
    await assertUsable(deps, await readVersion(deps.client, signal), signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!isKubeError(error)) throw error;
    const away = `the API server ${deps.server} does not answer (${messageOf(error)}): try again when it does, or without --cluster, which cleans this host alone`;
    throw new StartError(lastingTrouble(error, deps.server) ?? away, { cause: error });
  }
}

async function readVersion(client: ClusterDeps['client'], signal: AbortSignal): Promise<ServerVersion> {
  return client.get<ServerVersion>('/version', { signal, timeoutMs: versionTimeoutMs });
}

/** Asks until the API server answers. Throws {@link StartError} for faults that waiting does not solve. */
export async function untilAnswered<T>(
  { server, clock, log, onTrouble }: ClusterDeps,
  signal: AbortSignal,
  ask: () => Promise<T>,
): Promise<T> {
  let refusals = 0;
  const backoff = makeBackoff(retryMs);
  const trouble = makeTrouble({ what: 'connecting to the API server', log, clock });
  for (;;) {
    try {
      const answer = await ask();
      trouble.over();
      return answer;
    } catch (error) {
      signal.throwIfAborted();
      if (!isKubeError(error)) throw error;
      const lasting = lastingTrouble(error, server);
      refusals = lasting === undefined ? 0 : refusals + 1;
      if (lasting !== undefined && refusals >= startTries) throw new StartError(lasting, { cause: error });
      if (lasting === undefined) trouble.failed(error, { server }); // a lasting one is said once, as the error
      onTrouble?.(lasting ?? `the API server ${server} does not answer: ${messageOf(error)}`);
      const waitMs = lasting === undefined ? Math.max(backoff.next(), error.retryAfterMs ?? 0) : youthRetryMs;
      await clock.sleep(waitMs, signal);
    }
  }
}

/** The message for an error that waiting does not solve if it repeats; `undefined` for other errors. */
function lastingTrouble({ code, message, advice }: KubeError, server: string): string | undefined {
  switch (code) {
    case 'UNREACHABLE':
    case 'TIMEOUT':
    case 'SERVER':
    case 'THROTTLED':
    case 'GONE':
      return undefined;
    case 'UNTRUSTED':
    case 'UNAUTHORIZED':
      return `${server}: ${message}: ${advice}`;
    case 'CREDENTIALS':
      return `no credentials for the API server ${server}: ${message}`;
    case 'FORBIDDEN':
      return `the API server ${server} forbids access (${message}): ${advice}`;
    case 'NOT_FOUND':
    case 'CONFLICT':
    case 'ALREADY_EXISTS':
    case 'INVALID':
    case 'PROTOCOL':
      return `${server} does not answer as a Kubernetes API server (${message}): ${advice}`;
    default:
      return assertNever(code);
  }
}

/** Throws {@link StartError}, before any change, if the server is too old or permissions are missing. */
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
  for (let tries = 1; missing.length > 0 && tries < startTries; tries++) {
    await clock.sleep(youthRetryMs, signal);
    missing = await missingRights(client, leaseNamespace, signal);
  }
  if (missing.length > 0)
    throw new StartError(
      `missing permissions: ${missing.map((right) => showRight(right, leaseNamespace)).join(', ')}; ${rightsAdvice(missing)}`,
    );
}

export function isTooOld({ major, minor }: ServerVersion): boolean {
  return Number.parseInt(major, 10) === 1 && Number.parseInt(minor, 10) < oldestMinor;
}
