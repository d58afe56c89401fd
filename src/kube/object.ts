/** What every Kubernetes object carries (metav1.ObjectMeta), as far as this layer reads it. */
export type ObjectMeta = {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  /** Opaque: compared for equality only, never parsed, never ordered. */
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

/** One page of a LIST. `metadata.continue` is there while pages follow; all pages carry one resourceVersion. */
export type KubeList<T> = {
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items: readonly T[];
};

/** What identifies an object in stores and queues: `namespace/name`, or `name` where there is no namespace. */
export function objectKey(meta: { readonly name: string; readonly namespace?: string | undefined }): string {
  return meta.namespace === undefined || meta.namespace === '' ? meta.name : `${meta.namespace}/${meta.name}`;
}
