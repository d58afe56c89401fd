/**
 * The body of a server-side apply to `…/status`. Because of the uid, the apply fails with `INVALID` (422: the uid is
 * immutable) if the name now belongs to another object, and with `CONFLICT` (409) if the object was deleted. To clear a
 * list, `status` must contain it as an empty list.
 */
export function statusBody<Status>({
  apiVersion,
  kind,
  namespace,
  name,
  uid,
  status,
}: {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly uid: string;
  readonly status: Status;
}): {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly uid: string };
  readonly status: Status;
} {
  return { apiVersion, kind, metadata: { name, uid, ...(namespace === undefined ? {} : { namespace }) }, status };
}
