import type { ListenerKey } from '../core/model/names.ts';
import type { Revision } from '../core/revision.ts';
import { profileText, usualProfile } from '../core/traffic/options.ts';
import { type Listener, type Listeners, type TrafficTable, usesHaproxy } from '../core/traffic/table.ts';
import { withListeners } from './listener-changes.ts';
import type { Proxied, ProxyAnswer } from './proxied.ts';

/** `instead`: listeners among the refused ones, as HAProxy serves them. */
export type FormerAnswer = Pick<ProxyAnswer, 'refusals'> & { readonly instead: ReadonlyMap<ListenerKey, Listener> };

/**
 * Asks HAProxy for `target`, and for listeners that need a reload because of their profile once more, as they can be in force
 * meanwhile: with the profile of before, or with the usual one of their mode.
 */
export async function upsertWithFormer(
  proxied: Proxied,
  target: TrafficTable,
  { inForce, steered }: { readonly inForce: Listeners; readonly steered: TrafficTable | undefined },
  signal: AbortSignal,
): Promise<FormerAnswer> {
  const { refusals, waiting } = await proxied.upsert(target, steered, signal);
  const instead = new Map(
    Array.from(waiting).flatMap((key) => {
      const listener = target.listeners.get(key);
      return listener === undefined ? [] : [[key, withFormerProfile(listener, inForce.get(key))] as const];
    }),
  );
  if (instead.size === 0) return { refusals, instead };
  const former = await proxied.upsert(withListeners(target, instead), steered, signal);
  for (const key of former.refusals.keys()) instead.delete(key);
  return { refusals, instead };
}

function withFormerProfile(listener: Listener, old: Listener | undefined): Listener {
  const { options } = listener;
  if (options === undefined) return listener;
  const revision = `${listener.revision} with another profile` as Revision;
  if (old?.revision === revision) return old;
  const former = old !== undefined && usesHaproxy(old) ? old.options?.profile : undefined;
  const isFormer = former !== undefined && profileText(former) !== profileText(options.profile);
  const profile = isFormer ? former : usualProfile(options.profile.mode);
  return { ...listener, options: { ...options, profile }, revision };
}
