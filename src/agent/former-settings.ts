import { profileText, usualProfile } from '../core/traffic/options.ts';
import { type Listener, usesHaproxy } from '../core/traffic/table.ts';
import { makeListener } from '../core/traffic/make-listener.ts';
import { sameAs } from './listener-changes.ts';

/**
 * A listener whose profile needs a reload of HAProxy, as it can be in force meanwhile: with the profile of `old`, which is in force, or
 * the usual one that is most like its own.
 */
export function withFormerProfile(listener: Listener, old: Listener | undefined): Listener {
  const { options } = listener;
  if (options === undefined) return listener;
  const former = old !== undefined && usesHaproxy(old) ? old.options?.profile : undefined;
  const isFormer = former !== undefined && profileText(former) !== profileText(options.profile);
  const profile = isFormer ? former : usualProfile(options.profile);
  return sameAs(old, makeListener({ ...listener, options: { ...options, profile } }));
}

/** Whether `other` is the listener with another profile. */
export function isFormerOf(listener: Listener, other: Listener): boolean {
  const profile = listener.options?.profile;
  if (profile === undefined || other.options === undefined || other.revision === listener.revision) return false;
  return makeListener({ ...other, options: { ...other.options, profile } }).revision === listener.revision;
}
