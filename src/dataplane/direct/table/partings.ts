import type { ListenerKey, ServiceUid } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import { emptyTable, type TrafficTable } from '../../../core/traffic/table.ts';
import type { SlotGroup } from './program.ts';

/** The rest of a handshake takes less, also when one of its packets is sent again after a second. */
export const partingSeconds = 3;
/** The nodes are kept for a moment longer than the kernel needs them. */
const keepMs = (partingSeconds + 1) * 1_000;

type Groups = PersistentMap<ListenerKey, SlotGroup>;
type Parting = { readonly uid: ServiceUid; readonly group: SlotGroup; readonly untilMs: number };

/**
 * A TCP listener that leaves nodes for its stand-in may have connections whose SYN a node has, and whose ACK is on its way: they have no
 * pin yet. For some seconds such packets go to the nodes of before, unless the stand-in has their SYN (`seen`). The kernel ends
 * it by itself. Of UDP and SCTP only the packet in which the kernel is when the listener leaves needs the nodes of before.
 *
 * A listener that was `entering` (`stand-ins.ts`) does not: each connection of its nodes has a pin, and those of the stand-in are not
 * known.
 */
export type Partings = {
  /** The listeners that part from nodes, with these nodes; and when the first of them is to be forgotten, `Infinity` without any. */
  parting(state: {
    readonly listeners: TrafficTable['listeners'];
    readonly groups: Groups;
    /** Those that were `entering` until now. */
    readonly entering: readonly ListenerKey[];
    readonly nowMs: number;
  }): {
    readonly groups: ReadonlyMap<ListenerKey, SlotGroup>;
    readonly untilMs: number;
  };
};

export function makePartings(): Partings {
  const partings = new Map<ListenerKey, Parting>();
  let before = {
    listeners: emptyTable.listeners,
    groups: PersistentMap.empty<ListenerKey, SlotGroup>(),
  };
  return {
    parting: ({ listeners, groups, entering, nowMs }) => {
      const unsorted = new Set(entering);
      for (const key of PersistentMap.changedKeys(before.groups, groups)) {
        const [group, listener] = [before.groups.get(key), before.listeners.get(key)];
        if (groups.has(key)) partings.delete(key);
        else if (unsorted.has(key)) continue;
        else if (group !== undefined && listener !== undefined)
          partings.set(key, { uid: listener.uid, group, untilMs: nowMs + keepMs });
      }
      before = { listeners, groups };
      for (const [key, { uid, untilMs }] of partings)
        if (untilMs <= nowMs || listeners.get(key)?.uid !== uid) partings.delete(key);
      const all = [...partings];
      return {
        groups: new Map(all.map(([key, { group }]) => [key, group])),
        untilMs: Math.min(Number.POSITIVE_INFINITY, ...all.map(([, { untilMs }]) => untilMs)),
      };
    },
  };
}
