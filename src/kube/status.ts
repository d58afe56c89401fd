/**
 * The body of a server-side apply to `…/status`. The uid makes it `INVALID` (422: the uid is immutable) when the name
 * meanwhile belongs to another object; where there is none it is `NOT_FOUND`. A list that is to be emptied must be in
 * `status` as an empty list, not left out.
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
