import type { RunOptions } from '../cli/options.ts';
import type { CommandDeps } from '../daemon/platform.ts';
import { StartError } from '../daemon/errors.ts';
import { findPortHolders, holderWords } from '../daemon/port-holders.ts';
import { healthRoutes } from '../http/health-routes.ts';
import { serveHttp } from '../http/server.ts';
import type { Exec } from '../ports/exec.ts';

type ServeMetricsDeps = Pick<CommandDeps, 'metrics'> & {
  readonly exec: Exec;
  /** Why this host is not ready, a line each. */
  readonly notReady: () => readonly string[];
  /** Called before each scrape, which waits for it. */
  readonly refresh: (signal: AbortSignal) => Promise<void>;
};

/** Serves `/metrics`, `/healthz` and `/readyz`. Throws {@link StartError} if it cannot listen. */
export async function serveMetrics(
  address: RunOptions['metricsAddress'],
  { metrics, exec, notReady, refresh }: ServeMetricsDeps,
  signal: AbortSignal,
): Promise<AsyncDisposable & { readonly port?: number }> {
  if (address === undefined) return { [Symbol.asyncDispose]: async () => undefined };
  const text = async (inner: AbortSignal): Promise<string> => {
    await refresh(inner);
    return metrics.text();
  };
  const routes = healthRoutes({ metrics: text, metricsContentType: metrics.contentType, notReady });
  try {
    return await serveHttp(address, routes, signal);
  } catch (error) {
    signal.throwIfAborted();
    const why = await listenTrouble(address, error, exec, signal);
    throw new StartError(`--metrics-address: ${why}; choose another, or none`, { cause: error });
  }
}

async function listenTrouble(
  { host, port }: NonNullable<RunOptions['metricsAddress']>,
  error: unknown,
  exec: Exec,
  signal: AbortSignal,
): Promise<string> {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EADDRNOTAVAIL') return `this host has no address ${host}`;
  if (code !== 'EADDRINUSE') return `cannot listen on ${host}:${port} (${message})`;
  const [holders = []] = await findPortHolders(host, port, exec, signal).catch(() => []); // the port matters, not who has it
  return `port ${port} is held by ${holders.map(holderWords)[0] ?? 'another process'}`;
}
