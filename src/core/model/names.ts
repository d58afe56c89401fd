declare const brand: unique symbol;
export type Brand<Name extends string> = string & { readonly [brand]: Name };

/** `namespace/name` of a Service. */
export type ServiceKey = Brand<'ServiceKey'>;
/** `metadata.uid` of a Service: a new object under an old name has another one. */
export type ServiceUid = Brand<'ServiceUid'>;
/** `metadata.name` of a Node (DNS-1123 subdomain). */
export type NodeName = Brand<'NodeName'>;
/** `address|port|protocol` of a listener. */
export type ListenerKey = Brand<'ListenerKey'>;
/** What a backend is: `nodes4`, `nodes6`. */
export type BackendId = Brand<'BackendId'>;

export function serviceKey(namespace: string, name: string): ServiceKey {
  return `${namespace}/${name}` as ServiceKey;
}
