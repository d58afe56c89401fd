import { families } from '../../core/ip/ip.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { isHostBackend } from '../../core/traffic/host-pods.ts';
import type { Listener, Listeners } from '../../core/traffic/table.ts';
import type { Exec } from '../../ports/exec.ts';
import type { NatCounters } from '../../ports/nat.ts';
import { type ElementCounter, readElementCounters } from '../nftables/element-counters.ts';
import { listenerAddressKey, portKey } from '../nftables/element-keys.ts';
import { natTable } from './ruleset.ts';

const none: ElementCounter = { packets: 0, bytes: 0 };

/** What the kernel has counted of these listeners, or of all, without those that `direct` serves. Throws `ExecError`. */
export async function readNatCounters(
  exec: Exec,
  listeners: Listeners,
  keys: Iterable<ListenerKey> | undefined,
  signal: AbortSignal,
): Promise<ReadonlyMap<ListenerKey, NatCounters>> {
  const those = Array.from(keys ?? listeners.keys())
    .flatMap((key) => listeners.get(key) ?? [])
    .filter(({ backend }) => !isHostBackend(backend));
  if (those.length === 0) return new Map();
  const wanted = Object.fromEntries(
    families.flatMap((family): readonly [string, readonly string[] | 'all'][] => {
      const ofFamily = those.filter(({ address }) => address.family === family);
      const where = keys === undefined ? 'all' : ofFamily.map(listenerAddressKey);
      const through = keys === undefined ? 'all' : ofFamily.map(translatedKey);
      return [
        [`opened${family}`, where],
        [`requests${family}`, through],
        [`answers${family}`, through],
        [`refused${family}`, where],
      ];
    }),
  );
  const counted = await readElementCounters(exec, natTable, wanted, signal);
  return new Map(
    those.map((listener) => {
      const { family } = listener.address;
      const where = listenerAddressKey(listener);
      const through = where + portKey(listener.targetPort);
      const requests = counted[`requests${family}`]?.get(through) ?? none;
      const answers = counted[`answers${family}`]?.get(through) ?? none;
      const counters = {
        flows: counted[`opened${family}`]?.get(where)?.packets ?? 0,
        packetsIn: requests.packets,
        bytesIn: requests.bytes,
        packetsOut: answers.packets,
        bytesOut: answers.bytes,
        refused: counted[`refused${family}`]?.get(where)?.packets ?? 0,
      };
      return [listener.key, counters];
    }),
  );
}

/** The key of the packets of a listener, once they are translated. */
function translatedKey(listener: Listener): string {
  return listenerAddressKey(listener) + portKey(listener.targetPort);
}
