import type { RunOptions } from '../cli/options.ts';
import type { CommandDeps } from '../daemon/command.ts';
import { StartError } from '../daemon/errors.ts';
import { healthRoutes } from '../http/health-routes.ts';
import { serveHttp } from '../http/server.ts';

/** Serves `/metrics`, `/healthz` and `/readyz`, if `--metrics-address` is set. Throws {@link StartError} if it cannot listen. */
export async function serveMetrics(
  options: RunOptions,
  { metrics }: CommandDeps,
  notReady: () => readonly string[],
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  if (options.metricsAddress === undefined) return { [Symbol.asyncDispose]: async () => undefined };
  const { host, port } = options.metricsAddress;
  try {
    return await serveHttp(
      options.metricsAddress,
      healthRoutes({ metrics: () => metrics.text(), metricsContentType: metrics.contentType, notReady }),
      signal,
    );
  } catch (error) {
    signal.throwIfAborted();
    throw new StartError(
      `--metrics-address: cannot listen on ${host}:${port} (${error instanceof Error ? error.message : String(error)}); choose another, or none`,
      { cause: error },
    );
  }
}
