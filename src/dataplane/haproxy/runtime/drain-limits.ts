import type { Clock } from '../../../ports/clock.ts';
import { drainMsOf } from '../config/spare-servers.ts';

/** Which servers have drained for as long as their Service permits (`drain-time`): their connections are ended. */
export type DrainLimits = {
  /** Those of `draining` (`backend/server`) whose time is over, until `ended`. After a restart of furiwake the time begins again. */
  overdue(draining: readonly string[]): readonly string[];
  /** The connections of these servers were ended. */
  ended(servers: readonly string[]): void;
};

export function makeDrainLimits({ clock }: { readonly clock: Pick<Clock, 'monotonic'> }): DrainLimits {
  /** When the time of each is over; `Infinity`: its connections were ended. */
  let endsMs = new Map<string, number>();
  return {
    overdue: (draining) => {
      const nowMs = clock.monotonic();
      const next = new Map<string, number>();
      for (const id of draining) next.set(id, endsMs.get(id) ?? nowMs + (drainMsOf(id) ?? Infinity));
      endsMs = next;
      return draining.filter((id) => (next.get(id) ?? Infinity) <= nowMs);
    },
    ended: (servers) => {
      for (const id of servers) endsMs.set(id, Infinity);
    },
  };
}
