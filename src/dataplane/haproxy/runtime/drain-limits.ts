import type { Clock } from '../../../ports/clock.ts';
import { drainMsOf } from '../config/spare-servers.ts';

/** Which servers have drained for as long as their Service permits (`drain-time`): their connections are ended. */
export type DrainLimits = {
  /**
   * Those of `draining` (`backend/server`) whose time is over, until `ended`. One that drained before and `isLeft` still counts: only a
   * worker that a reload has replaced has its connections. `undefined`: not known at the moment. After a restart of furiwake the time
   * begins again.
   */
  overdue(draining: readonly string[] | undefined, isLeft: (id: string) => boolean): readonly string[];
  /** The connections of these servers were ended. */
  ended(servers: readonly string[]): void;
};

export function makeDrainLimits({ clock }: { readonly clock: Pick<Clock, 'monotonic'> }): DrainLimits {
  /** When the time of each is over; `Infinity`: its connections were ended. */
  let endsMs = new Map<string, number>();
  return {
    overdue: (draining, isLeft) => {
      if (draining === undefined) return [];
      const nowMs = clock.monotonic();
      const next = new Map<string, number>();
      for (const id of draining) next.set(id, endsMs.get(id) ?? nowMs + (drainMsOf(id) ?? Infinity));
      for (const [id, endMs] of endsMs) if (!next.has(id) && isLeft(id)) next.set(id, endMs);
      endsMs = next;
      return Array.from(next).flatMap(([id, endMs]) => (endMs <= nowMs ? id : []));
    },
    ended: (servers) => {
      for (const id of servers) endsMs.set(id, Infinity);
    },
  };
}
