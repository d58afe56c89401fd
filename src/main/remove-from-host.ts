import { StartError } from '../daemon/errors.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Log } from '../ports/log.ts';
import type { HostParts } from './host-parts.ts';

const deadlineMs = 30_000;

/**
 * Takes away from this host what `run` put there: nft table, rules and routes, HAProxy, addresses. Each part is tried,
 * whatever becomes of the others; then throws {@link StartError} with what failed. Not to be interrupted, so that it
 * takes no signal: it has a deadline.
 */
export async function removeFromHost(
  { steering, proxy, placement }: Pick<HostParts, 'steering' | 'proxy' | 'placement'>,
  log: Log,
): Promise<void> {
  const signal = AbortSignal.timeout(deadlineMs);
  const failures: string[] = [];
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      log.error({ err: error }, `${what}: could not be taken off this host`);
      failures.push(`${what} (${error instanceof Error ? error.message : String(error)})`);
    }
  };
  await attempt('nft table and routing rules', () => steering.remove(signal));
  await attempt('HAProxy', () => proxy.stop(signal));
  await attempt('addresses', () => placement.remove(PersistentMap.empty(), signal));
  if (failures.length > 0)
    throw new StartError(
      `not all could be taken off this host: ${failures.join('; ')}: mend that and run furiwake cleanup`,
    );
  log.info({}, 'taken off this host: nft table, routing rules, HAProxy, addresses');
}
