import { PersistentMap } from '../../../core/persistent-map.ts';
import { slotCount } from './rule-parts.ts';
import type { DirectProgram, SlotGroup } from './program.ts';

/** The rest of a handshake takes less, also when one of its packets is sent again after a second. */
export const movedSeconds = 3;
/**
 * A slot is not named again before the kernel has ended its element: nft refuses another node for it, and so the whole change. With
 * thousands of groups on a busy machine a change takes six seconds, and the element begins at its end.
 */
const keepMs = (movedSeconds + 7) * 1_000;
/** Each costs 30 µs. A silent node may be in thousands of groups, whose slots must not get other nodes seconds later. */
const mostMoved = 2 * slotCount;

/** A slot, by the number of its group, with the node that it had until a moment ago. */
export type MovedSlot = { readonly group: number; readonly slot: number; readonly mark: number };

/**
 * A connection has a pin from its second packet on. While its handshake is under way, only its slot leads to the node that has its
 * SYN: if the slot gets another node meanwhile (one joins, drains or is silent), that one would reset it. So for some seconds a
 * packet without a pin goes to the node of before, unless its SYN came after the change (`newer`). The kernel ends that by itself.
 *
 * Follows a group whose slots change, and a new one that takes the place of another. A listener that moves to a group which others
 * have may lose the handshakes that are under way, and so may those beyond {@link mostMoved} slots.
 */
export type MovedSlots = (state: {
  readonly groups: DirectProgram['groups'];
  readonly nowMs: number;
}) => readonly MovedSlot[];

export function makeMovedSlots(): MovedSlots {
  const moved = new Map<string, MovedSlot>();
  /** When to forget each of them, by the monotonic clock. */
  const untilMs = new Map<string, number>();
  const listenersOf = new Map<number, number>();
  let before: DirectProgram['groups'] = PersistentMap.empty();

  const move = (old: SlotGroup, now: SlotGroup, endMs: number): void => {
    if (old.marks.length !== now.marks.length) return; // another hash
    for (const [slot, mark] of old.marks.entries()) {
      const key = `${now.id} ${slot}`;
      if (mark === now.marks[slot] || moved.has(key) || moved.size >= mostMoved) continue;
      moved.set(key, { group: now.id, slot, mark });
      untilMs.set(key, endMs);
    }
  };

  return ({ groups, nowMs }) => {
    for (const [key, endMs] of untilMs) if (endMs <= nowMs && untilMs.delete(key)) moved.delete(key);
    const changes = PersistentMap.changedKeys(before, groups).map((key) => [before.get(key), groups.get(key)] as const);
    const done = new Set<SlotGroup>();
    for (const [old, now] of changes) {
      if (old === undefined || now === undefined || done.has(now)) continue;
      if (old.id !== now.id && listenersOf.has(now.id)) continue;
      done.add(now);
      move(old, now, nowMs + keepMs);
    }
    for (const [old, now] of changes) {
      if (old !== undefined) count(listenersOf, old.id, -1);
      if (now !== undefined) count(listenersOf, now.id, 1);
    }
    before = groups;
    return [...moved.values()];
  };
}

function count(counts: Map<number, number>, id: number, by: 1 | -1): void {
  const sum = (counts.get(id) ?? 0) + by;
  if (sum === 0) counts.delete(id);
  else counts.set(id, sum);
}
