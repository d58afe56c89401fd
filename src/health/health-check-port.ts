import { get } from 'node:http';
import type { Ip } from '../core/ip/ip.ts';
import type { Clock } from '../ports/clock.ts';

/** `mute`: no HTTP answer. */
export type HealthCheckAnswer = 'confirms' | 'denies' | 'mute';

/**
 * Asks kube-proxy on a node whether the node has ready endpoints of a Service, on the `healthCheckNodePort` of the Service.
 * Rejects only with the signal's reason.
 */
export type AskHealthCheckPort = (address: Ip, port: number, signal: AbortSignal) => Promise<HealthCheckAnswer>;

const deadlineMs = 500;

/**
 * Source: Kubernetes 1.37.2, pkg/proxy/healthcheck/service_health.go. The status is 200 if the node has ready endpoints of the
 * Service and its kube-proxy is healthy, else 503. The proxier sets the number of endpoints at the end of a sync: after a 200
 * the node serves. Endpoints that terminate do not count.
 */
export function makeAskHealthCheckPort({ clock }: { readonly clock: Clock }): AskHealthCheckPort {
  return (address, port, signal) =>
    new Promise((resolve, reject) => {
      const deadline = clock.deadline(deadlineMs, signal);
      const target = { host: address.text, port, path: '/healthz', agent: false, signal: deadline.signal };
      const request = get(target, (response) => {
        resolve(response.statusCode === 200 ? 'confirms' : 'denies');
        request.destroy();
      });
      request.on('error', () => undefined); // it closes
      request.on('close', () => {
        deadline[Symbol.dispose]();
        if (signal.aborted) reject(signal.reason);
        else resolve('mute'); // without effect after an answer
      });
    });
}
