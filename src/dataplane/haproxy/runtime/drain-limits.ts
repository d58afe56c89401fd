import type { Clock } from '../../../ports/clock.ts';
import { drainMsOf } from '../config/spare-servers.ts';

/** Which servers have drained for as long as their Service permits (`drain-time`): their connections are ended. */
export type DrainLimits = {
  /**
   * The servers (`backend/server`) whose time is over, until `ended`. `limited`: those with a limit, and whether they get new connections;
   * `undefined`: not known at the moment. One that was removed drains, too, while `mayBeLeft`: a worker that a reload has replaced may
   * have its connections. After a restart of furiwake the time begins again.
   */
  overdue(limited: ReadonlyMap<string, boolean> | undefined, mayBeLeft: boolean): readonly string[];
  /** The connections of these servers were ended. */
  ended(servers: readonly string[]): void;
};

export function makeDrainLimits({ clock }: { readonly clock: Pick<Clock, 'monotonic'> }): DrainLimits {
  /** When the time of each is over; `Infinity`: its connections were ended. */
  let endsMs = new Map<string, number>();
  let seen: ReadonlyMap<string, boolean> = new Map();
  return {
    overdue: (limited, mayBeLeft) => {
      if (limited === undefined) return [];
      const nowMs = clock.monotonic();
      const removed = mayBeLeft ? [...endsMs.keys(), ...seen.keys()].filter((id) => !limited.has(id)) : [];
      const draining = [...removed, ...[...limited.keys()].filter((id) => limited.get(id) === false)];
      endsMs = new Map(draining.map((id) => [id, endsMs.get(id) ?? nowMs + (drainMsOf(id) ?? Infinity)]));
      seen = limited;
      return Array.from(endsMs).flatMap(([id, endMs]) => (endMs <= nowMs ? id : []));
    },
    ended: (servers) => {
      for (const id of servers) endsMs.set(id, Infinity);
    },
  };
}
