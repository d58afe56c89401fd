import type { ObjectReference } from './object.ts';

/** One operation of RFC 6902. */
export type JsonPatchOperation =
  | { readonly op: 'test' | 'add' | 'replace'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

export type JsonPatch = readonly JsonPatchOperation[];

/**
 * Sets the finalizers of exactly the object that was read: fails (`INVALID`) when the object has changed since, or is
 * another object of the same name. All finalizers in one write: server-side apply could not remove one that another
 * manager also owns.
 */
export function finalizerPatch({
  uid,
  resourceVersion,
  finalizers,
}: {
  readonly uid: string;
  readonly resourceVersion: string;
  /** All finalizers of the object, including those of other controllers; an empty list removes the field. */
  readonly finalizers: readonly string[];
}): JsonPatch {
  return [
    { op: 'test', path: '/metadata/uid', value: uid },
    { op: 'test', path: '/metadata/resourceVersion', value: resourceVersion },
    { op: 'add', path: '/metadata/finalizers', value: finalizers }, // `add` also replaces (RFC 6902 §4.1)
  ];
}

type StatusBody<Status> = Pick<ObjectReference, 'apiVersion' | 'kind'> & {
  readonly metadata: Omit<ObjectReference, 'apiVersion' | 'kind'>;
  readonly status: Status;
};

/**
 * The body of a server-side apply to `…/status`. Because of the uid, the apply fails with `INVALID` (422: the uid is
 * immutable) if the name now belongs to another object, and with `CONFLICT` (409) if the object was deleted. To clear a
 * list, `status` must contain it as an empty list.
 */
export function statusBody<Status>(
  { apiVersion, kind, ...metadata }: ObjectReference,
  status: Status,
): StatusBody<Status> {
  return { apiVersion, kind, metadata, status };
}
