/** The fields of metav1.ObjectMeta that this layer reads. */
export type ObjectMeta = {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  /** Compared by `isNewer` only (KEP-5504), never parsed to a number. */
  readonly resourceVersion?: string;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
};

/** Any object as the API server sends it. Kinds extend it with the fields that they read. */
export type KubeObject = {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
};

/** One page of a LIST. `metadata.continue` is set while more pages follow; all pages have the same resourceVersion. */
export type KubeList<T> = {
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items: readonly T[];
};

/** Key of an object in stores and queues: `namespace/name`, or `name` of an object without a namespace. */
export function objectKey(meta: { readonly name: string; readonly namespace?: string | undefined }): string {
  return meta.namespace === undefined || meta.namespace === '' ? meta.name : [meta.namespace, meta.name].join('/');
}

/** One object, and not another that later has its name (core/v1 ObjectReference). */
export type ObjectReference = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly uid: string;
};
