import type { RunOptions } from '../cli/options.ts';
import type { CommandDeps } from '../daemon/platform.ts';
import { StartError } from '../daemon/errors.ts';
import type { FamilyText, HostMetrics } from '../daemon/host-metrics.ts';
import { listenTrouble } from '../daemon/port-holders.ts';
import { healthRoutes } from '../http/health-routes.ts';
import { serveHttp } from '../http/server.ts';
import type { Exec } from '../ports/exec.ts';

type ServeMetricsDeps = Pick<CommandDeps, 'metrics'> & {
  readonly exec: Exec;
  /** Why this host is not ready, a line each. */
  readonly notReady: () => readonly string[];
  /** Called before each scrape of these metrics, or of all if there are none; the scrape waits for it. */
  readonly refresh: (names: readonly string[], signal: AbortSignal) => Promise<void>;
} & Pick<HostMetrics, 'families'>;

/** Serves `/metrics`, `/healthz` and `/readyz`. Throws {@link StartError} if it cannot listen. */
export async function serveMetrics(
  address: RunOptions['metricsAddress'],
  { metrics, exec, notReady, refresh, families }: ServeMetricsDeps,
  signal: AbortSignal,
): Promise<AsyncDisposable & { readonly port?: number }> {
  if (address === undefined) return { [Symbol.asyncDispose]: async () => undefined };
  const parts = async (names: readonly string[], inner: AbortSignal): Promise<Iterable<string>> => {
    await refresh(names, inner);
    const wanted = families().filter(({ name }) => names.length === 0 || names.includes(name));
    return joined(await metrics.text(names), wanted);
  };
  const routes = healthRoutes({ metrics: parts, metricsContentType: metrics.contentType, notReady });
  try {
    return await serveHttp(address, routes, signal);
  } catch (error) {
    signal.throwIfAborted();
    const why = await listenTrouble(address, error, exec, signal);
    throw new StartError(`--metrics-address: ${why}; choose another, or none`, { cause: error });
  }
}

function* joined(first: string, families: Iterable<FamilyText>): Generator<string> {
  yield first;
  for (const { portions } of families) yield* portions;
}
