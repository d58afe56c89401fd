import { Agent, get } from 'node:http';
import * as z from 'zod';
import type { Family, Ip } from '../core/ip/ip.ts';
import { kubeProxyHealthPort } from '../core/model/contract.ts';
import { parseJson } from '../core/parse-json.ts';
import type { Clock } from '../ports/clock.ts';

/** The end of a sync. `id` differs from sync to sync; `endMs`: our monotonic time, never later than the true end. */
export type SyncEnd = { readonly id: string; readonly endMs: number };

/** One answer of `/healthz`. */
export type KubeProxyAnswer = {
  /** When the request was sent, monotonic ms: the answer is not older. */
  readonly sentMs: number;
  readonly isHealthy: boolean;
  /** The answer arrived on the connection of the previous one: kube-proxy did not restart in between. */
  readonly isSameProcess: boolean;
  /** The last sync of each family; `undefined` if this kube-proxy does not report syncs (before Kubernetes 1.34). */
  readonly syncs: { readonly 4?: SyncEnd; readonly 6?: SyncEnd } | undefined;
};

/** The kube-proxy of one node. */
export type KubeProxy = {
  /** `undefined` without a usable answer in 500 ms. Rejects only with the signal's reason. One request at a time. */
  ask(address: Ip, signal: AbortSignal): Promise<KubeProxyAnswer | undefined>;
  /** Closes the connection that is kept between requests. */
  close(): void;
};

const deadlineMs = 500;
const mostCharacters = 8_192;

/**
 * Asks kube-proxy's `/healthz` for the last sync of each family, with one connection that stays open: it ends when
 * kube-proxy ends, and kube-proxy never closes an idle one (its server sets no timeouts).
 *
 * Source: Kubernetes 1.37.2, pkg/proxy/healthcheck/proxy_health.go (`healthzHandler`). The status is 200, or 503 with
 * the same body if a sync is overdue or if the autoscaler removes the node. `status` has no entry for a family before
 * `SyncLoop` of its proxier starts, and is absent without entries. The outer `lastUpdated` is the current time.
 */
export function makeKubeProxy(deps: { readonly clock: Clock }): KubeProxy {
  const { clock } = deps;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return {
    ask: (address, signal) =>
      new Promise((resolve, reject) => {
        const deadline = clock.deadline(deadlineMs, signal);
        const sentMs = clock.monotonic();
        const target = { host: address.text, port: kubeProxyHealthPort, path: '/healthz' };
        const request = get({ ...target, agent, signal: deadline.signal }, (response) => {
          const isSameProcess = request.reusedSocket;
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (part: string) => {
            text += part;
            if (text.length > mostCharacters) request.destroy();
          });
          response.on('end', () => {
            const status = response.statusCode;
            const decoded = status === 200 || status === 503 ? decodeSyncs(text, sentMs) : undefined;
            resolve(decoded && { sentMs, isHealthy: status === 200, isSameProcess, syncs: decoded.syncs });
          });
          response.on('error', () => undefined); // the request closes
        });
        request.on('error', () => undefined); // it closes
        request.on('close', () => {
          deadline[Symbol.dispose]();
          if (signal.aborted) reject(signal.reason);
          else resolve(undefined); // without effect after an answer
        });
      }),
    close: () => agent.destroy(),
  };
}

const time = z.iso.datetime({ offset: true }).transform((text) => ({ text, ms: Date.parse(text) }));
const proxierHealth = z.object({ lastUpdated: time });
const proxyHealth = z.object({
  currentTime: time,
  status: z.object({ IPv4: proxierHealth.optional(), IPv6: proxierHealth.optional() }),
});
/** Its times are texts of another format. */
const olderHealth = z.object({ currentTime: z.string(), status: z.undefined().optional() });

/** The syncs in a body of `/healthz` whose request was sent at `sentMs`; `undefined` for any other body. */
function decodeSyncs(body: string, sentMs: number): Pick<KubeProxyAnswer, 'syncs'> | undefined {
  const json = parseJson(body);
  const health = proxyHealth.safeParse(json).data;
  if (health === undefined) return olderHealth.safeParse(json).success ? { syncs: undefined } : undefined;
  const { currentTime, status } = health;
  const syncs: { -readonly [F in Family]?: SyncEnd } = {};
  for (const [family, proxier] of [[4, status.IPv4] as const, [6, status.IPv6] as const]) {
    if (proxier === undefined) continue;
    const ageMs = currentTime.ms - proxier.lastUpdated.ms;
    if (ageMs < 0) continue; // the node's clock was set back: the age is not known
    // Both times are cut to whole ms: the sync may be 1 ms older.
    syncs[family] = { id: proxier.lastUpdated.text, endMs: sentMs - ageMs - 1 };
  }
  return { syncs };
}
