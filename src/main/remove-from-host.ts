import { unlessAborted } from '../async/abort.ts';
import { settlesWithin } from '../async/settles-within.ts';
import { StartError } from '../daemon/errors.ts';
import { messageOf } from '../async/error-words.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { longestCallMs, usualCallMs } from '../ports/call-times.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { HostParts } from './host-parts.ts';

type Removal = { readonly removed?: string; readonly failure?: string };

/**
 * Removes everything that `run` configured on this host. The addresses are first, because another host may answer for
 * them; the others follow side by side when the addresses are removed, or after a second. Each part has a deadline of its own, so one that
 * hangs keeps no other. Logs the parts that it removed, then throws {@link StartError} with the failed ones. Has no signal,
 * because after half of it the host would answer for addresses that it does not serve.
 */
export async function removeFromHost(
  { steering, direct, nat, proxy, placement }: Pick<HostParts, 'steering' | 'direct' | 'nat' | 'proxy' | 'placement'>,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Promise<void> {
  const { signal: never } = new AbortController();
  const attempt = async (what: string, work: (signal: AbortSignal) => Promise<boolean>): Promise<Removal> => {
    using deadline = clock.deadline(longestCallMs, never);
    try {
      return (await unlessAborted(work(deadline.signal), deadline.signal)) ? { removed: what } : {};
    } catch (error) {
      log.error({ err: error }, `${what}: could not be removed from this host`);
      const isLate = deadline.signal.aborted;
      const words = messageOf(error);
      return { failure: `${what} (${isLate ? `no answer for ${longestCallMs / 1_000} s` : words})` };
    }
  };
  const addresses = attempt('the addresses', (signal) => placement.remove(PersistentMap.empty(), signal));
  await settlesWithin(addresses, usualCallMs, clock, never);
  const outcomes = await Promise.all([
    addresses,
    attempt('the nftables table of HAProxy with its routing rules', (signal) => steering.remove(signal)),
    attempt('the nftables table of direct', (signal) => direct.remove(signal)),
    attempt('the nftables table of nat with its forwarding', (signal) => nat.remove(signal)),
    attempt('HAProxy', (signal) => proxy.stop(signal)),
  ]);
  const removed = outcomes.flatMap((outcome) => outcome.removed ?? []);
  const failures = outcomes.flatMap(({ failure }) => failure ?? []);
  if (removed.length > 0) log.info({}, `removed from this host: ${removed.join(', ')}`);
  else if (failures.length === 0) log.info({}, 'nothing to remove: this host has no configuration of furiwake');
  if (failures.length > 0)
    throw new StartError(
      `could not remove everything from this host: ${failures.join(', ')}. Fix that, then run furiwake cleanup.`,
    );
}
