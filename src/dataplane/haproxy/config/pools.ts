import type { Family } from '../../../core/ip/ip.ts';
import type { BackendId } from '../../../core/model/names.ts';
import { revisionOf } from '../../../core/revision.ts';
import { hasOwnBackend, plainProfile, type Profile, profileText, serverText } from '../../../core/traffic/options.ts';
import { type Listener, nodesBackend } from '../../../core/traffic/table.ts';

/** Spare backends of one family and one profile: `4`, `6`, and with a profile `4.1x2y3z`. */
export type PoolId = `${Family}` | `${Family}.${string}`;

/** The name of a spare backend in HAProxy. */
export type SpareName = `spare${PoolId}-${number}`;

const spareName = /^spare(([46])(?:\.[a-z0-9]{1,12})?)-\d{1,5}$/;

export function isSpareName(name: string): name is SpareName {
  return spareName.test(name);
}

/** The pool of a spare backend; `undefined` for another name. */
export function poolOfSpare(name: string): PoolId | undefined {
  return spareName.exec(name)?.[1] as PoolId | undefined;
}

/** The backend of all nodes of the same family as a spare one; another name as it is. */
export function nodesOf(backend: string): string {
  const family = spareName.exec(backend)?.[2];
  return family === undefined ? backend : `nodes${family}`;
}

/** The pool that has the backend of a listener, if that is not the one of all nodes. */
export function poolOf({ address, options }: Pick<Listener, 'address' | 'options'>): PoolId {
  return poolOfProfile(address.family, options?.profile ?? plainProfile);
}

export function poolOfProfile(family: Family, profile: Profile): PoolId {
  const text = profileText(profile);
  return text === '' ? `${family}` : `${family}.${revisionOf(text)}`;
}

export function familyOfPool(pool: PoolId): Family {
  return pool.startsWith('4') ? 4 : 6;
}

/**
 * The backend that HAProxy needs for a listener: that of the table, or, for options that concern the servers or the backend, one that
 * no other Service and no other port uses: its servers have the port of the listener's target, and their limits are its own.
 */
export function ownerOf({ backend, options, service, targetPort }: Listener): BackendId {
  if (options === undefined || !hasOwnBackend(options)) return backend;
  const { profile, server } = options;
  return [backend, service, targetPort, serverText(server), profileText(profile)].join(' ') as BackendId;
}

export function spareNames(pool: PoolId, from: number, to: number): readonly SpareName[] {
  return Array.from({ length: to - from }, (_, index): SpareName => `spare${pool}-${from + index}`);
}

/** Whether HAProxy serves the listener through the backend of all nodes. */
export function usesAllNodes(listener: Listener): boolean {
  return ownerOf(listener) === nodesBackend(listener.address.family);
}
