import type { ListenerKey } from '../core/model/names.ts';
import type { Revision } from '../core/revision.ts';
import { profileText, usualProfile } from '../core/traffic/options.ts';
import { type Listener, type Listeners, type TrafficTable, usesHaproxy } from '../core/traffic/table.ts';

const mark = ' with another profile';

/** These listeners of the table, as they can be in force while they wait: with the profile of before, or the usual one of their mode. */
export function withFormerProfiles(
  table: TrafficTable,
  waiting: ReadonlySet<ListenerKey>,
  inForce: Listeners,
): Map<ListenerKey, Listener> {
  return new Map(
    Array.from(waiting).flatMap((key) => {
      const listener = table.listeners.get(key);
      return listener === undefined ? [] : [[key, withFormerProfile(listener, inForce.get(key))] as const];
    }),
  );
}

/** Whether `other` is the listener with a former profile. */
export function isFormerOf(listener: Listener, other: Listener | undefined): boolean {
  return other?.revision === `${listener.revision}${mark}`;
}

function withFormerProfile(listener: Listener, old: Listener | undefined): Listener {
  const { options } = listener;
  if (options === undefined) return listener;
  const revision = `${listener.revision}${mark}` as Revision;
  if (old?.revision === revision) return old;
  const former = old !== undefined && usesHaproxy(old) ? old.options?.profile : undefined;
  const isFormer = former !== undefined && profileText(former) !== profileText(options.profile);
  const profile = isFormer ? former : usualProfile(options.profile.mode);
  return { ...listener, options: { ...options, profile }, revision };
}
