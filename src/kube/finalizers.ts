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
