import type { Alarm } from '../../async/alarm.ts';
import type { Family } from '../../core/ip/ip.ts';
import type { ListenerKey, NodeName } from '../../core/model/names.ts';
import type { TrafficTable } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import { makeFormerNat } from '../nftables/former-nat.ts';
import { makeFirstWaits } from './table/first-waits.ts';
import { makePartings } from './table/partings.ts';
import { type DirectProgram, groupKey, type SlotGroup } from './table/program.ts';
import { makeHandovers } from './table/handovers.ts';

/** The states that a listener has for some seconds after a change, for programs: see the parts of {@link DirectProgram}. */
export type PassingStates = {
  /** Follows the change from one table to the next. Of the first one it gets only the listeners that no stand-in serves yet. */
  follow(before: TrafficTable['listeners'], after: TrafficTable['listeners']): void;
  /** Listeners of which `nat` may still have connections, whatever their stand-in is. */
  formerNat(): ReadonlySet<ListenerKey>;
  /** Whether the listener waited for its first node until the last program. */
  hasWaited(listener: ListenerKey): boolean;
  /** The program with those of now. The alarm rings when one of them ends. */
  into<Program extends DirectProgram>(
    program: Program,
    table: TrafficTable,
    mayOpen: (node: NodeName, family: Family) => boolean,
  ): Program;
};

export function makePassingStates({ clock, alarm }: { readonly clock: Clock; readonly alarm: Alarm }): PassingStates {
  const firstWaits = makeFirstWaits();
  const handovers = makeHandovers();
  const partings = makePartings();
  const formerNat = makeFormerNat();
  /** In the last program; `waited`: in the one before. */
  let waiting: ReadonlySet<ListenerKey> = new Set();
  let waited = waiting;
  return {
    follow: (before, after) => {
      formerNat.follow(before, after);
      firstWaits.follow(before, after);
      handovers.follow(before, after, clock.monotonic());
    },
    formerNat: () => formerNat.keys(),
    hasWaited: (key) => waited.has(key),
    into: (program, table, mayOpen) => {
      const { groups } = program;
      const nowMs = clock.monotonic();
      const waits = firstWaits.waiting({ table, open: groups, mayOpen, nowMs });
      [waiting, waited] = [waits.listeners, waiting];
      const handed = handovers.handed(nowMs);
      const partingNow = partings.parting({ listeners: table.listeners, groups, nowMs });
      alarm.setAt(Math.min(waits.untilMs, handed.untilMs, partingNow.untilMs));
      return {
        ...program,
        waiting: waits.listeners,
        handed: handed.listeners,
        parting: partingNow.groups,
        slots: withGroups(program.slots, partingNow.groups.values()),
      };
    },
  };
}

/** A group that listeners still have is the one of now. */
function withGroups(slots: DirectProgram['slots'], left: Iterable<SlotGroup>): DirectProgram['slots'] {
  const alone = [...left].filter((group) => !slots.has(groupKey(group)));
  return slots.with(alone.map((group) => [groupKey(group), group]));
}
