import { type Routes, textReply } from './server.ts';

export type HealthSource = {
  /** Metrics in the Prometheus text format. */
  readonly metrics: (signal: AbortSignal) => Promise<string>;
  readonly metricsContentType: string;
  /** The reasons why this host is not ready, one per line; empty: it is ready. */
  readonly notReady: () => readonly string[];
};

/** `/metrics`, `/healthz` (the process runs), `/readyz` (503 with the reasons while this host is not ready). */
export function healthRoutes({ metrics, metricsContentType, notReady }: HealthSource): Routes {
  return {
    'GET /metrics': async (_, signal) => ({
      status: 200,
      contentType: metricsContentType,
      body: await metrics(signal),
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
