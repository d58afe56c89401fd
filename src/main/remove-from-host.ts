import { StartError } from '../daemon/errors.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { HostParts } from './host-parts.ts';

const deadlineMs = 30_000;

/**
 * Removes everything that `run` configured on this host: nftables tables, routing rules, HAProxy, addresses. Tries each
 * part and logs those that it removed, then throws {@link StartError} with the failed ones. Has a deadline instead of a signal, because after half of
 * it the host would answer for addresses that it does not serve.
 */
export async function removeFromHost(
  { steering, direct, nat, proxy, placement }: Pick<HostParts, 'steering' | 'direct' | 'nat' | 'proxy' | 'placement'>,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Promise<void> {
  using deadline = clock.deadline(deadlineMs, new AbortController().signal);
  const { signal } = deadline;
  const removed: string[] = [];
  const failures: string[] = [];
  const attempt = async (what: string, work: () => Promise<boolean>): Promise<void> => {
    try {
      if (await work()) removed.push(what);
    } catch (error) {
      log.error({ err: error }, `${what}: could not be removed from this host`);
      failures.push(`${what} (${error instanceof Error ? error.message : String(error)})`);
    }
  };
  await attempt('the nftables table of HAProxy with its routing rules', () => steering.remove(signal));
  await attempt('the nftables table of direct', () => direct.remove(signal));
  await attempt('the nftables table of nat with its forwarding', () => nat.remove(signal));
  await attempt('HAProxy', () => proxy.stop(signal));
  await attempt('the addresses', () => placement.remove(PersistentMap.empty(), signal));
  if (removed.length > 0) log.info({}, `removed from this host: ${removed.join(', ')}`);
  else if (failures.length === 0) log.info({}, 'nothing to remove: this host has no configuration of furiwake');
  if (failures.length > 0)
    throw new StartError(
      `could not remove everything from this host: ${failures.join(', ')}. Fix that, then run furiwake cleanup.`,
    );
}
