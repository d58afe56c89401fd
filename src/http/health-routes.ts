import { type Routes, textReply } from './server.ts';

export type HealthSource = {
  /** Figures in the Prometheus text format. */
  readonly metrics: () => Promise<string>;
  readonly metricsContentType: string;
  /** What is not ready yet, in words; empty when all is. */
  readonly notReady: () => readonly string[];
};

/** `/metrics`, `/healthz` (the process lives), `/readyz` (stores synced, lease held, the last change in force). */
export function healthRoutes({ metrics, metricsContentType, notReady }: HealthSource): Routes {
  return {
    'GET /metrics': async () => ({ status: 200, contentType: metricsContentType, body: await metrics() }),
    'GET /healthz': async () => textReply(200, 'ok\n'),
    'GET /readyz': async () => {
      const missing = notReady();
      return missing.length === 0
        ? textReply(200, 'ok\n')
        : textReply(503, missing.map((line) => `not ready: ${line}\n`).join(''));
    },
  };
}
