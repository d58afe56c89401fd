import type { Log } from '../ports/log.ts';
import type { HostParts } from './host-parts.ts';

const deadlineMs = 30_000;

/** Takes away from this host what `run` put there: nft table, rules and routes, HAProxy, addresses. */
export async function removeFromHost({ classifier, proxy, announcer }: HostParts, log: Log): Promise<void> {
  const signal = AbortSignal.timeout(deadlineMs);
  await classifier.remove(signal);
  await proxy.stop(signal);
  await announcer.release([], signal);
  log.info({}, 'taken off this host: nft table, routing rules, HAProxy, addresses');
}
