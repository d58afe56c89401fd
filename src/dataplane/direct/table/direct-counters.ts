import type { ListenerKey } from '../../../core/model/names.ts';
import type { DirectCounters } from '../../../ports/direct.ts';
import type { Exec } from '../../../ports/exec.ts';
import { readElementCounters } from '../../nftables/element-counters.ts';
import { classKey } from '../../nftables/element-keys.ts';
import type { DirectProgram } from './program.ts';
import { directTable } from './ruleset.ts';

/** What the kernel has counted for these listeners, or for all in the table. Throws `ExecError`. */
export async function readDirectCounters(
  exec: Exec,
  ids: DirectProgram['ids'],
  keys: Iterable<ListenerKey> | undefined,
  signal: AbortSignal,
): Promise<ReadonlyMap<ListenerKey, DirectCounters>> {
  const wanted = Array.from(keys ?? ids.keys()).flatMap((key) => {
    const id = ids.get(key);
    return id === undefined ? [] : [[key, classKey(id)] as const];
  });
  if (wanted.length === 0) return new Map();
  const those = keys === undefined ? 'all' : wanted.map(([, id]) => id);
  const sets = { open: those, flows: those, refused: those } as const;
  const { open, flows, refused } = await readElementCounters(exec, directTable, sets, signal);
  return new Map(
    wanted.map(([key, id]) => {
      const { packets, bytes } = open.get(id) ?? { packets: 0, bytes: 0 };
      return [key, { flows: flows.get(id)?.packets ?? 0, packets, bytes, refused: refused.get(id)?.packets ?? 0 }];
    }),
  );
}

/** How many packets the table has dropped because no client has their source; 0 without a table. Throws `ExecError`. */
export async function countSpoofed(exec: Exec, signal: AbortSignal): Promise<number> {
  const { spoofed } = await readElementCounters(exec, directTable, { spoofed: 'all' }, signal);
  return [...spoofed.values()].reduce((sum, { packets }) => sum + packets, 0);
}
