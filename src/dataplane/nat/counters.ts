import type { ListenerKey } from '../../core/model/names.ts';
import type { Listener } from '../../core/traffic/table.ts';
import type { Exec } from '../../ports/exec.ts';
import type { NatCounters } from '../../ports/nat.ts';
import { type ElementCounter, readElementCounters } from '../nftables/element-counters.ts';
import { throughText, whereText } from './layout.ts';
import { natTable } from './ruleset.ts';

const none: ElementCounter = { packets: 0, bytes: 0 };

/** What the kernel has counted of these listeners. Throws `ExecError`. */
export async function readNatCounters(
  exec: Exec,
  listeners: readonly Listener[],
  signal: AbortSignal,
): Promise<ReadonlyMap<ListenerKey, NatCounters>> {
  const families = [...new Set(listeners.map(({ address }) => address.family))];
  const kinds = ['opened', 'requests', 'answers', 'refused'] as const;
  const sets = families.flatMap((family) => kinds.map((kind) => `${kind}${family}` as const));
  if (sets.length === 0) return new Map();
  const counted = await readElementCounters(exec, natTable, sets, signal);
  return new Map(
    listeners.map((listener) => {
      const { family } = listener.address;
      const [where, through] = [whereText(listener), throughText(listener)];
      const requests = counted[`requests${family}`].get(through) ?? none;
      const answers = counted[`answers${family}`].get(through) ?? none;
      const counters = {
        flows: (counted[`opened${family}`].get(where) ?? none).packets,
        packetsIn: requests.packets,
        bytesIn: requests.bytes,
        packetsOut: answers.packets,
        bytesOut: answers.bytes,
        refused: (counted[`refused${family}`].get(where) ?? none).packets,
      };
      return [listener.key, counters];
    }),
  );
}
