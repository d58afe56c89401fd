import { type Routes, textReply } from './server.ts';

export type HealthSource = {
  /** The metrics of these names, or all if there are none, in the Prometheus text format, in parts. */
  readonly metrics: (names: readonly string[], signal: AbortSignal) => Promise<Iterable<string>>;
  readonly metricsContentType: string;
  /** The reasons why this host is not ready, one per line; empty: it is ready. */
  readonly notReady: () => readonly string[];
};

/** `/metrics` (`?name[]=` chooses some), `/healthz` (the process runs), `/readyz` (503 with the reasons while this host is not ready). */
export function healthRoutes({ metrics, metricsContentType, notReady }: HealthSource): Routes {
  return {
    'GET /metrics': async (_, signal, query) => ({
      status: 200,
      contentType: metricsContentType,
      body: await metrics(query.getAll('name[]'), signal),
    }),
    'GET /healthz': async () => textReply(200, 'ok\n'),
    'GET /readyz': async () => {
      const missing = notReady();
      return missing.length === 0
        ? textReply(200, 'ok\n')
        : textReply(503, missing.map((line) => `not ready: ${line}\n`).join(''));
    },
  };
}
