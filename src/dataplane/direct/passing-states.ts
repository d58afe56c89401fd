import type { Alarm } from '../../async/alarm.ts';
import type { Family } from '../../core/ip/ip.ts';
import type { ListenerKey, NodeName } from '../../core/model/names.ts';
import type { TrafficTable } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { StandIns } from './stand-ins.ts';
import { makeFormerNat } from '../nftables/former-nat.ts';
import { makeFirstWaits } from './table/first-waits.ts';
import { makeInherited } from './table/inherited.ts';
import { makeMovedSlots } from './table/moved-slots.ts';
import { makePartings } from './table/partings.ts';
import { type DirectProgram, groupKey, type SlotGroup } from './table/program.ts';
import { makeHandovers } from './table/handovers.ts';

/** The states that a listener has for some seconds after a change, for programs: see the parts of {@link DirectProgram}. */
export type PassingStates = {
  /** Follows the change from one table to the next; not that to the first table of a process. */
  follow(before: TrafficTable['listeners'], after: TrafficTable['listeners']): void;
  /** Listeners that this host has not served by `direct`, though others may have (`inherited.ts`). */
  inherit(listeners: TrafficTable['listeners']): void;
  /** Listeners of which `nat` may still have connections, whatever their stand-in is. */
  formerNat(): ReadonlySet<ListenerKey>;
  /** The program with those of now. The alarm rings when one of them ends. */
  into<Program extends DirectProgram>(
    program: Program,
    table: TrafficTable,
    more: {
      readonly serverless: ReadonlySet<ListenerKey>;
      readonly mayOpen: (node: NodeName, family: Family) => boolean;
    },
  ): Program;
};

export function makePassingStates({
  standIns,
  clock,
  alarm,
}: {
  readonly standIns: Pick<StandIns, 'entering'>;
  readonly clock: Clock;
  readonly alarm: Alarm;
}): PassingStates {
  const firstWaits = makeFirstWaits();
  const handovers = makeHandovers();
  const inherited = makeInherited();
  const partings = makePartings();
  const movedSlots = makeMovedSlots();
  const formerNat = makeFormerNat();
  return {
    follow: (before, after) => {
      formerNat.follow(before, after);
      const inheritedNow = inherited.follow(before, after, clock.monotonic());
      firstWaits.follow(before, after, inheritedNow);
      handovers.follow(before, after, inheritedNow, clock.monotonic());
    },
    inherit: (listeners) => inherited.begin(listeners.values(), clock.monotonic()),
    formerNat: () => formerNat.keys(),
    into: (program, table, { serverless, mayOpen }) => {
      const nowMs = clock.monotonic();
      const inheritedNow = inherited.settle({ table, groups: program.groups, mayOpen, nowMs });
      const { groups } = inheritedNow;
      const waits = firstWaits.waiting({ table, open: groups, serverless, mayOpen, nowMs });
      const handed = handovers.handed(nowMs);
      const partingNow = partings.parting({ listeners: table.listeners, groups, entering: standIns.entering(), nowMs });
      alarm.setAt(Math.min(waits.untilMs, handed.untilMs, partingNow.untilMs, inheritedNow.untilMs));
      return {
        ...program,
        groups,
        inherited: inheritedNow.inherited,
        waiting: waits.listeners,
        handed: handed.listeners,
        parting: partingNow.groups,
        moved: movedSlots({ groups, nowMs }),
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
