import type { ObjectReference } from './object.ts';

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
