import type { ListenerKey, ServiceUid } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import type { TrafficTable } from '../../../core/traffic/table.ts';

/** For how long the packets of a former Service's connections are reset. */
export const handoverSeconds = 60;
const handoverMs = handoverSeconds * 1_000;

/** The Service that had, or has, a listener. */
type PassingHolder = { readonly uid: ServiceUid; readonly untilMs: number };

/**
 * A TCP listener that another Service had a moment ago: its clients may still send, and the conntrack of a node may still lead them to the
 * Pods of that Service. For a minute packets that neither open a connection nor have a pin are reset, and connections are
 * pinned by their SYN. The kernel ends it by itself.
 */
export type Handovers = {
  /** Follows the change from one table to the next. `inherited`: listeners that another host has handed over. */
  follow(
    before: TrafficTable['listeners'],
    after: TrafficTable['listeners'],
    inherited: ReadonlySet<ListenerKey>,
    nowMs: number,
  ): void;
  /** The listeners that were handed over, and when the first of these minutes ends; `Infinity` without any. */
  handed(nowMs: number): { readonly listeners: ReadonlySet<ListenerKey>; readonly untilMs: number };
};

export function makeHandovers(): Handovers {
  /** The last holder of each listener that is gone, or changed hands. */
  const former = new Map<ListenerKey, PassingHolder>();
  const handed = new Map<ListenerKey, PassingHolder>();
  const forget = (nowMs: number): void => {
    for (const holders of [former, handed])
      for (const [key, { untilMs }] of holders) if (untilMs <= nowMs) holders.delete(key);
  };
  return {
    follow: (before, after, inherited, nowMs) => {
      forget(nowMs);
      const untilMs = nowMs + handoverMs;
      for (const key of PersistentMap.changedKeys(before, after)) {
        const [was, is] = [before.get(key), after.get(key)];
        if (was !== undefined && was.uid !== is?.uid) {
          handed.delete(key);
          if (was.protocol === 'TCP') former.set(key, { uid: was.uid, untilMs });
        }
        const holder = former.get(key);
        if (holder === undefined || is === undefined) continue;
        former.delete(key);
        if (is.uid !== holder.uid && !inherited.has(key)) handed.set(key, { uid: is.uid, untilMs });
      }
    },
    handed: (nowMs) => {
      forget(nowMs);
      return {
        listeners: new Set(handed.keys()),
        untilMs: Math.min(Number.POSITIVE_INFINITY, ...Array.from(handed.values(), ({ untilMs }) => untilMs)),
      };
    },
  };
}
